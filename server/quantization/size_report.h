// The part of a report that is known without running anything: shapes, sizes,
// schemes.

#ifndef OCTET_SERVER_QUANTIZATION_SIZE_REPORT_H_
#define OCTET_SERVER_QUANTIZATION_SIZE_REPORT_H_

#include <vector>

#include "absl/status/status.h"
#include "server/bundle/report.h"
#include "server/model/graph.h"
#include "server/model/tensor.h"
#include "server/quantization/layer_plan.h"
#include "server/quantization/storage.h"

namespace octet::quantization {

// Of a linear's weight.
bundle::LayerReport DescribeLayer(const StoredTensor& stored,
                                  const LayerPlan& plan);

// Fills in the sizes of linears, checkpoint and bundle; `report` has its
// layers.
absl::Status CountBytes(const model::TensorSource& checkpoint,
                        const std::vector<StoredTensor>& tensors,
                        bundle::QuantizationReport& report);

// Layers in execution order are what people expect to read.
void SortByExecution(const model::Graph& graph,
                     std::vector<bundle::LayerReport>& layers);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SIZE_REPORT_H_
