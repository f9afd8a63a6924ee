// What a bundle stores for every tensor of a checkpoint, decided before a byte
// is written: a safetensors header comes first and holds all sizes.
//
//   weight of an INT8 linear   codes, scales, corrected bias, smoothing,
//                              activation scale, outlier rows
//   other F32                  the plan's float type, if its values fit
//   other F16, BF16            as it is: the other 16-bit type would lose bits,
//                              FP32 would gain none
//   of a folded norm           FP32: rounding it again would cost bits
//   everything else            as it is

#ifndef OCTET_SERVER_QUANTIZATION_STORAGE_STORAGE_H_
#define OCTET_SERVER_QUANTIZATION_STORAGE_STORAGE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/thread_pool.h"
#include "server/bundle/safetensors.h"
#include "server/model/graph.h"
#include "server/model/scheme.h"
#include "server/model/tensor.h"
#include "server/quantization/planning/planner.h"

namespace octet::quantization {

struct StoredTensor {
  std::string name;                       // in the checkpoint
  const model::Linear* linear = nullptr;  // whose weight it is, if any
  model::DataType type;                   // as stored; I8 for codes
  std::vector<bundle::TensorInfo> parts;  // what is written for it, in order
  // Of folded smoothing, a factor for each row; or empty. The plan's.
  absl::Span<const float> divisors;
};

// Corrects the plan's scheme of a float linear to what is stored, and adds a
// warning where a tensor's values do not fit the type that was asked for.
// Errors: INVALID_ARGUMENT for a NaN or an infinity (tensor and index) and for
// a linear whose weights are not float; CANCELLED. The linears pointed to are
// the graph's, the divisors the plan's.
absl::StatusOr<std::vector<StoredTensor>> PlanStorage(
    const model::Graph& graph, const model::TensorSource& checkpoint,
    model::Scheme float_scheme, const std::function<bool()>& cancelled,
    kernels::ThreadPool* pool, QuantizationPlan& plan);

// The bias is then one of the weight's parts: it is known after the codes.
bool CorrectsBias(const model::Linear& linear, const LayerPlan& plan);

// Little-endian bytes of `values` as F32, F16 or BF16.
std::vector<std::byte> EncodeFloat(absl::Span<const float> values,
                                   model::DataType type,
                                   kernels::ThreadPool* pool = nullptr);

// ToFloat, naming the tensor in its error.
absl::StatusOr<std::vector<float>> ReadFloat(const model::TensorView& tensor,
                                             std::string_view name);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_STORAGE_STORAGE_H_
