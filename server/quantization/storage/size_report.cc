#include "server/quantization/storage/size_report.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "kernels/status_macros.h"
#include "server/quantization/storage/report_data.h"

namespace octet::quantization {
namespace {

uint64_t BytesAsFloat(const model::TensorView& tensor) {
  const bool is_half = model::IsFloat(tensor.type) &&
                       model::SizeOf(tensor.type) != sizeof(float);
  return tensor.bytes.size() * (is_half ? 2 : 1);
}

}  // namespace

bundle::LayerReport DescribeLayer(const StoredTensor& stored,
                                  const LayerPlan& plan) {
  const model::Linear& linear = *stored.linear;
  bundle::LayerReport report;
  report.layer = linear.layer;
  report.rows = static_cast<int64_t>(linear.out_features);
  report.cols = static_cast<int64_t>(linear.in_features);
  report.float_bytes =
      uint64_t{linear.out_features} * linear.in_features * sizeof(float);
  for (const bundle::TensorInfo& part : stored.parts) {
    report.stored_bytes += ByteSize(part);
  }
  DescribeMethods(plan, report);
  return report;
}

absl::StatusOr<uint64_t> BytesAsFloat(const model::TensorSource& checkpoint) {
  uint64_t bytes = 0;
  for (const std::string& name : checkpoint.Names()) {
    ASSIGN_OR_RETURN(const model::TensorView tensor, checkpoint.Find(name));
    bytes += BytesAsFloat(tensor);
  }
  return bytes;
}

absl::Status CountBytes(const model::TensorSource& checkpoint,
                        const std::vector<StoredTensor>& tensors,
                        bundle::QuantizationReport& report) {
  for (const bundle::LayerReport& layer : report.layers) {
    report.linear_float_bytes += layer.float_bytes;
    report.linear_stored_bytes += layer.stored_bytes;
  }
  // All of them: a corrected bias is a part of what is stored of its weight.
  ASSIGN_OR_RETURN(report.checkpoint_bytes, BytesAsFloat(checkpoint));
  for (const StoredTensor& stored : tensors) {
    for (const bundle::TensorInfo& part : stored.parts) {
      report.bundle_bytes += ByteSize(part);
    }
  }
  return absl::OkStatus();
}

void SortByExecution(const model::Graph& graph,
                     std::vector<bundle::LayerReport>& layers) {
  std::map<std::string, size_t> place;
  for (const model::Linear* linear : graph.Linears()) {
    place.emplace(linear->layer, place.size());
  }
  std::sort(layers.begin(), layers.end(), [&](const auto& a, const auto& b) {
    return place[a.layer] < place[b.layer];
  });
}

}  // namespace octet::quantization
