#include "server/quantization/tensor_writer.h"

#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "kernels/status_macros.h"
#include "server/quantization/error_measures.h"
#include "server/quantization/layer_quantizer.h"
#include "server/quantization/weight_errors.h"
#include "server/quantization/weight_summary.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;
using model::DataType;
using model::Linear;
using model::TensorView;

template <typename T>
absl::Span<const std::byte> BytesOf(const std::vector<T>& values) {
  return {reinterpret_cast<const std::byte*>(values.data()),
          values.size() * sizeof(T)};
}

}  // namespace

absl::Status TensorWriter::Write(const StoredTensor& stored,
                                 const LayerPlan* plan,
                                 const LayerSamples& samples,
                                 bundle::LayerReport* report) {
  ASSIGN_OR_RETURN(const TensorView tensor, checkpoint_.Find(stored.name));
  if (plan == nullptr && stored.type == tensor.type) {
    return output_.Append(stored.name, tensor.bytes);
  }
  ASSIGN_OR_RETURN(const std::vector<float> values,
                   ReadFloat(tensor, stored.name));
  if (stored.type == DataType::kI8) {
    return WriteInt8(stored, *plan, values, samples, *report);
  }
  const std::vector<std::byte> bytes = EncodeFloat(values, stored.type);
  if (report != nullptr) {
    ASSIGN_OR_RETURN(
        const std::vector<float> read_back,
        ReadFloat({stored.type, tensor.shape, bytes}, stored.name));
    ErrorAccumulator errors;
    errors.Add(values, read_back);
    report->weight = errors.Result();
    const size_t columns = stored.linear->in_features;
    WeightSummary summary(*plan);
    summary.Add({values.data(), values.size() / columns, columns}, {}, pool_);
    report->weights = summary.Result();
  }
  return output_.Append(stored.name, bytes);
}

absl::Status TensorWriter::WriteInt8(const StoredTensor& stored,
                                     const LayerPlan& plan,
                                     const std::vector<float>& values,
                                     const LayerSamples& samples,
                                     bundle::LayerReport& report) {
  const Linear& linear = *stored.linear;
  const MatrixView<const float> weight(values.data(), linear.out_features,
                                       linear.in_features);
  std::vector<float> bias;
  if (CorrectsBias(linear, plan)) {
    const std::string name = linear.layer + ".bias";
    ASSIGN_OR_RETURN(const TensorView tensor, checkpoint_.Find(name));
    ASSIGN_OR_RETURN(bias, ReadFloat(tensor, name));
  }
  ASSIGN_OR_RETURN(
      const QuantizedLayer layer,
      QuantizeLayer(stored.name, weight, bias, plan, samples, pool_));
  report.zero_channels = static_cast<int64_t>(layer.zero_channels);
  WeightSummary summary(plan);
  summary.Add(weight, layer.scales, pool_);
  report.weights = summary.Result();
  report.weight = Int8WeightErrors(weight, layer, plan, pool_).Result();
  const auto append = [&](const char* part, absl::Span<const std::byte> bytes) {
    return output_.Append(linear.layer + part, bytes);
  };
  RETURN_IF_ERROR(append(".weight", BytesOf(layer.codes)));
  RETURN_IF_ERROR(append(".weight_scale", BytesOf(layer.scales)));
  if (!layer.bias.empty()) {
    RETURN_IF_ERROR(append(".bias", BytesOf(layer.bias)));
  }
  if (!layer.inverse_smoothing.empty()) {
    RETURN_IF_ERROR(
        append(".inverse_smoothing", BytesOf(layer.inverse_smoothing)));
  }
  if (plan.scheme.scheme == model::Scheme::kW8A8Static) {
    const std::vector<float> scale = {plan.input.scale};
    const std::vector<int8_t> zero_point = {
        static_cast<int8_t>(plan.input.zero_point - 128)};
    RETURN_IF_ERROR(append(".input_scale", BytesOf(scale)));
    RETURN_IF_ERROR(append(".input_zero_point", BytesOf(zero_point)));
  }
  if (!layer.outlier_columns.empty()) {
    RETURN_IF_ERROR(append(".outlier_columns", BytesOf(layer.outlier_columns)));
    RETURN_IF_ERROR(append(".outlier_weight", BytesOf(layer.outlier_weights)));
  }
  return absl::OkStatus();
}

}  // namespace octet::quantization
