// What importers share: tensors checked against what a config says.

#ifndef OCTET_SERVER_MODEL_IMPORT_SUPPORT_H_
#define OCTET_SERVER_MODEL_IMPORT_SUPPORT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/activation.h"
#include "server/model/graph.h"
#include "server/model/importer.h"
#include "server/model/json_fields.h"
#include "server/model/tensor.h"

namespace octet::model {

// The importers, one per family; importer.cc has the table.
absl::StatusOr<Graph> ImportBert(const ConfigFiles& configs,
                                 const TensorSource& tensors);
absl::StatusOr<Graph> ImportMlp(const ConfigFiles& configs,
                                const TensorSource& tensors);
absl::StatusOr<Graph> ImportLinearSet(const ConfigFiles& configs,
                                      const TensorSource& tensors);

// A table, norm or bias: float, with exactly this shape.
absl::Status CheckFloatTensor(const TensorSource& tensors,
                              std::string_view name,
                              absl::Span<const int64_t> shape);

// LayerNorm parameters of width `width`, under either naming (LayerNormNames).
absl::Status CheckLayerNorm(const TensorSource& tensors, std::string_view layer,
                            size_t width);

// A linear with W [out, in], from its tensors: "P.weight" float, or I8 with a
// "P.weight_scale"; and "P.bias" [out], where there is one. The
// caller sets activation, residual, input and output.
absl::StatusOr<Linear> CheckLinear(const TensorSource& tensors,
                                   std::string_view layer, size_t out,
                                   size_t in);

// As CheckLinear, with the shape taken from the weight, which must be 2-D.
absl::StatusOr<Linear> InferLinear(const TensorSource& tensors,
                                   std::string_view layer);

// `hidden_act` by the names transformers uses.
absl::StatusOr<kernels::Activation> ParseActivation(const JsonFields& config,
                                                    std::string_view field);

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_IMPORT_SUPPORT_H_
