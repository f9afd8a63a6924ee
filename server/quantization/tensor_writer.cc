#include "server/quantization/tensor_writer.h"

#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "kernels/half.h"
#include "kernels/status_macros.h"
#include "server/quantization/error_measures.h"
#include "server/quantization/weight_quantizer.h"
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

// What the INT8 layer computes with: codes times scale, and FP16 in the
// columns that are taken out.
bundle::ErrorMeasures WeightErrors(MatrixView<const float> weight,
                                   const QuantizedWeight& quantized,
                                   absl::Span<const int32_t> columns,
                                   absl::Span<const uint16_t> outliers) {
  ErrorAccumulator errors;
  std::vector<float> row(weight.cols);
  for (size_t n = 0; n < weight.rows; ++n) {
    const int8_t* codes = quantized.codes.data() + n * weight.cols;
    for (size_t k = 0; k < weight.cols; ++k) {
      row[k] = quantized.scales[n] * static_cast<float>(codes[k]);
    }
    for (size_t c = 0; c < columns.size(); ++c) {
      row[columns[c]] = kernels::Fp16ToFloat(outliers[c * weight.rows + n]);
    }
    errors.Add({weight.row(n), weight.cols}, row);
  }
  return errors.Result();
}

}  // namespace

absl::Status TensorWriter::Write(const StoredTensor& stored,
                                 const LayerPlan* plan,
                                 bundle::LayerReport* report) {
  ASSIGN_OR_RETURN(const TensorView tensor, checkpoint_.Find(stored.name));
  if (plan == nullptr && stored.type == tensor.type) {
    return output_.Append(stored.name, tensor.bytes);
  }
  ASSIGN_OR_RETURN(const std::vector<float> values,
                   ReadFloat(tensor, stored.name));
  if (stored.type == DataType::kI8) {
    return WriteInt8(stored, *plan, values, *report);
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
                                     bundle::LayerReport& report) {
  const Linear& linear = *stored.linear;
  const MatrixView<const float> weight(values.data(), linear.out_features,
                                       linear.in_features);
  ASSIGN_OR_RETURN(const QuantizedWeight quantized,
                   QuantizeWeight(stored.name, weight, pool_));
  ASSIGN_OR_RETURN(
      const std::vector<uint16_t> outliers,
      ExtractOutlierWeights(stored.name, weight, plan.outlier_columns));
  report.zero_channels = static_cast<int64_t>(quantized.zero_channels);
  WeightSummary summary(plan);
  summary.Add(weight, quantized.scales, pool_);
  report.weights = summary.Result();
  report.weight =
      WeightErrors(weight, quantized, plan.outlier_columns, outliers);
  const auto append = [&](const char* part, absl::Span<const std::byte> bytes) {
    return output_.Append(linear.layer + part, bytes);
  };
  RETURN_IF_ERROR(append(".weight", BytesOf(quantized.codes)));
  RETURN_IF_ERROR(append(".weight_scale", BytesOf(quantized.scales)));
  if (plan.scheme.scheme == model::Scheme::kW8A8Static) {
    const std::vector<float> scale = {plan.input.scale};
    const std::vector<int8_t> zero_point = {
        static_cast<int8_t>(plan.input.zero_point - 128)};
    RETURN_IF_ERROR(append(".input_scale", BytesOf(scale)));
    RETURN_IF_ERROR(append(".input_zero_point", BytesOf(zero_point)));
  }
  if (!plan.outlier_columns.empty()) {
    RETURN_IF_ERROR(append(".outlier_columns", BytesOf(plan.outlier_columns)));
    RETURN_IF_ERROR(append(".outlier_weight", BytesOf(outliers)));
  }
  return absl::OkStatus();
}

}  // namespace octet::quantization
