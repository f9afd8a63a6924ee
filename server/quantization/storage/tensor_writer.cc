#include "server/quantization/storage/tensor_writer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/status_macros.h"
#include "server/quantization/methods/error_measures.h"
#include "server/quantization/methods/float_blocks.h"
#include "server/quantization/storage/weight_errors.h"
#include "server/quantization/storage/weight_summary.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;
using model::DataType;
using model::Linear;
using model::TensorView;

constexpr size_t kCopyBytes = size_t{16} << 20;

template <typename T>
absl::Span<const std::byte> BytesOf(const std::vector<T>& values) {
  return {reinterpret_cast<const std::byte*>(values.data()),
          values.size() * sizeof(T)};
}

template <typename T>
void MoveBehind(std::vector<T>& part, std::vector<T>& all) {
  if (all.empty()) {
    all = std::move(part);
  } else {
    all.insert(all.end(), part.begin(), part.end());
  }
}

// `part` has rows [first, first + rows) of the layer's `all_rows`.
void AppendRows(QuantizedLayer part, size_t first, size_t rows, size_t all_rows,
                QuantizedLayer& layer) {
  MoveBehind(part.scales, layer.scales);
  MoveBehind(part.bias, layer.bias);
  layer.zero_channels += part.zero_channels;
  layer.outlier_columns = std::move(part.outlier_columns);
  layer.inverse_smoothing = std::move(part.inverse_smoothing);
  const size_t columns = layer.outlier_columns.size();
  layer.outlier_weights.resize(columns * all_rows);
  for (size_t c = 0; c < columns; ++c) {
    std::copy_n(part.outlier_weights.begin() + c * rows, rows,
                layer.outlier_weights.begin() + c * all_rows + first);
  }
}

}  // namespace

absl::Status TensorWriter::CheckCancelled() const {
  if (!cancelled_ || !cancelled_()) return absl::OkStatus();
  return absl::CancelledError("the quantization was cancelled");
}

absl::Status TensorWriter::Write(const StoredTensor& stored,
                                 const LayerPlan* plan,
                                 const LayerSamples& samples,
                                 bundle::LayerReport* report) {
  ASSIGN_OR_RETURN(const TensorView tensor, checkpoint_.Find(stored.name));
  if (plan == nullptr && stored.type == tensor.type &&
      stored.divisors.empty()) {
    return WriteAsItIs(stored);
  }
  if (stored.type == DataType::kI8) {
    return WriteInt8(stored, *plan, samples, *report);
  }
  return WriteFloat(stored, plan, report);
}

absl::Status TensorWriter::WriteAsItIs(const StoredTensor& stored) {
  ASSIGN_OR_RETURN(const TensorView tensor, checkpoint_.Find(stored.name));
  size_t begin = 0;
  do {
    RETURN_IF_ERROR(CheckCancelled());
    const auto piece = tensor.bytes.subspan(begin, kCopyBytes);
    RETURN_IF_ERROR(output_.Append(stored.name, piece));
    checkpoint_.Release(piece);
    begin += piece.size();
  } while (begin < tensor.bytes.size());
  return absl::OkStatus();
}

absl::Status TensorWriter::WriteFloat(const StoredTensor& stored,
                                      const LayerPlan* plan,
                                      bundle::LayerReport* report) {
  const size_t columns =
      stored.linear == nullptr ? 1 : stored.linear->in_features;
  const size_t size = model::SizeOf(stored.type);
  const LayerPlan none;
  WeightSummary summary(plan == nullptr ? none : *plan);
  ErrorAccumulator errors;
  const auto write = [&](size_t /*first*/,
                         absl::Span<const float> values) -> absl::Status {
    RETURN_IF_ERROR(CheckCancelled());
    const std::vector<std::byte> bytes =
        EncodeFloat(values, stored.type, pool_);
    if (report != nullptr) {
      const size_t row_bytes = columns * size;
      const auto stored_row = [&](size_t n, absl::Span<float> row) {
        model::WidenFloats(
            stored.type,
            absl::MakeConstSpan(bytes).subspan(n * row_bytes, row_bytes),
            row.data());
      };
      const MatrixView<const float> rows(values.data(), values.size() / columns,
                                         columns);
      errors.Merge(RowErrors(rows, stored_row, pool_));
      summary.Add(rows, {}, pool_);
    }
    return output_.Append(stored.name, bytes);
  };
  RETURN_IF_ERROR(ForEachBlock(checkpoint_, stored.name, stored.divisors,
                               BlockElements(columns), pool_, write));
  if (report != nullptr) {
    report->weight = errors.Result();
    report->weights = summary.Result();
  }
  return absl::OkStatus();
}

absl::StatusOr<QuantizedLayer> TensorWriter::WriteCodes(
    const StoredTensor& stored, const LayerPlan& plan,
    const LayerSamples& samples, bundle::LayerReport& report) {
  const Linear& linear = *stored.linear;
  const size_t columns = linear.in_features;
  std::vector<float> bias;
  if (CorrectsBias(linear, plan)) {
    const std::array<int64_t, 1> shape = {
        static_cast<int64_t>(linear.out_features)};
    ASSIGN_OR_RETURN(
        bias, model::FindFloat(checkpoint_, linear.layer + ".bias", shape));
    if (!stored.divisors.empty()) {
      DivideRows(stored.divisors, 1, 0, absl::MakeSpan(bias));
    }
  }
  QuantizedLayer layer;
  WeightSummary summary(plan);
  ErrorAccumulator errors;
  const auto write = [&](size_t first,
                         absl::Span<const float> values) -> absl::Status {
    RETURN_IF_ERROR(CheckCancelled());
    const MatrixView<const float> rows(values.data(), values.size() / columns,
                                       columns);
    const absl::Span<const float> rows_bias = absl::MakeConstSpan(bias).subspan(
        std::min(bias.size(), first / columns), rows.rows);
    ASSIGN_OR_RETURN(QuantizedLayer part,
                     QuantizeLayer(stored.name, rows, rows_bias, plan, samples,
                                   pool_, &compensations_));
    errors.Merge(Int8WeightErrors(rows, part, plan, pool_));
    summary.Add(rows, part.scales, pool_);
    RETURN_IF_ERROR(
        output_.Append(stored.parts.front().name, BytesOf(part.codes)));
    AppendRows(std::move(part), first / columns, rows.rows, linear.out_features,
               layer);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(ForEachBlock(checkpoint_, stored.name, stored.divisors,
                               BlockElements(columns), pool_, write));
  report.zero_channels = static_cast<int64_t>(layer.zero_channels);
  report.weight = errors.Result();
  report.weights = summary.Result();
  return layer;
}

absl::Status TensorWriter::WriteInt8(const StoredTensor& stored,
                                     const LayerPlan& plan,
                                     const LayerSamples& samples,
                                     bundle::LayerReport& report) {
  ASSIGN_OR_RETURN(const QuantizedLayer layer,
                   WriteCodes(stored, plan, samples, report));
  const auto append = [&](const char* part, absl::Span<const std::byte> bytes) {
    return output_.Append(stored.linear->layer + part, bytes);
  };
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
