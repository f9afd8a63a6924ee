// The part of a report that is known without running anything: shapes, sizes,
// schemes.

#ifndef OCTET_SERVER_QUANTIZATION_STORAGE_SIZE_REPORT_H_
#define OCTET_SERVER_QUANTIZATION_STORAGE_SIZE_REPORT_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/bundle/report.h"
#include "server/model/graph.h"
#include "server/model/tensor.h"
#include "server/quantization/methods/layer_plan.h"
#include "server/quantization/storage/storage.h"

namespace octet::quantization {

// Of a linear's weight.
bundle::LayerReport DescribeLayer(const StoredTensor& stored,
                                  const LayerPlan& plan);

// Of all tensors, floats as FP32: what a model of them takes of memory.
absl::StatusOr<uint64_t> BytesAsFloat(const model::TensorSource& checkpoint);

// Fills in the sizes of linears, checkpoint and bundle; `report` has its
// layers.
absl::Status CountBytes(const model::TensorSource& checkpoint,
                        const std::vector<StoredTensor>& tensors,
                        bundle::QuantizationReport& report);

// Layers in execution order are what people expect to read.
void SortByExecution(const model::Graph& graph,
                     std::vector<bundle::LayerReport>& layers);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_STORAGE_SIZE_REPORT_H_
