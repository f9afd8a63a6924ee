#include "server/quantization/storage/weight_errors.h"

#include <algorithm>
#include <vector>

#include "kernels/hadamard.h"
#include "kernels/half.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;

// Fixed, since partial sums are rounded: results are the same for any pool.
constexpr size_t kTaskFloats = size_t{1} << 16;

void StoredRow(const QuantizedLayer& layer, const LayerPlan& plan, size_t rows,
               size_t n, absl::Span<float> row) {
  const size_t columns = row.size();
  const size_t groups = layer.scales.size() / rows;
  const size_t group_size =
      plan.scheme.group_size == 0 ? columns : plan.scheme.group_size;
  const int8_t* codes = layer.codes.data() + n * columns;
  const float* scales = layer.scales.data() + n * groups;
  for (size_t k = 0; k < columns; ++k) {
    row[k] = scales[k / group_size] * static_cast<float>(codes[k]);
  }
  if (plan.scheme.hadamard_block != 0) {  // its own inverse
    kernels::RotateRows({row.data(), 1, columns}, plan.scheme.hadamard_block);
  }
  for (size_t c = 0; c < layer.outlier_columns.size(); ++c) {
    row[layer.outlier_columns[c]] =
        kernels::Fp16ToFloat(layer.outlier_weights[c * rows + n]);
  }
  for (size_t k = 0; k < plan.smoothing.size(); ++k) {
    row[k] /= plan.smoothing[k];  // also where what makes x divides
  }
}

}  // namespace

ErrorAccumulator RowErrors(
    MatrixView<const float> weight,
    absl::FunctionRef<void(size_t, absl::Span<float>)> stored_row,
    kernels::ThreadPool* pool) {
  const size_t per_task = std::max<size_t>(1, kTaskFloats / weight.cols);
  const size_t tasks = (weight.rows + per_task - 1) / per_task;
  std::vector<ErrorAccumulator> parts(tasks);
  const auto compare = [&](size_t task) {
    std::vector<float> row(weight.cols);
    const size_t end = std::min(weight.rows, (task + 1) * per_task);
    for (size_t n = task * per_task; n < end; ++n) {
      stored_row(n, absl::MakeSpan(row));
      parts[task].Add({weight.row(n), weight.cols}, row);
    }
  };
  if (pool != nullptr) {
    pool->ParallelFor(tasks, compare);
  } else {
    for (size_t task = 0; task < tasks; ++task) compare(task);
  }
  ErrorAccumulator sum;
  for (const ErrorAccumulator& part : parts) sum.Merge(part);
  return sum;
}

ErrorAccumulator Int8WeightErrors(MatrixView<const float> weight,
                                  const QuantizedLayer& layer,
                                  const LayerPlan& plan,
                                  kernels::ThreadPool* pool) {
  return RowErrors(
      weight,
      [&](size_t n, absl::Span<float> row) {
        StoredRow(layer, plan, weight.rows, n, row);
      },
      pool);
}

}  // namespace octet::quantization
