#include "server/quantization/storage/weight_summary.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "server/quantization/storage/report_data.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;

// Fixed, so that sums do not depend on the number of threads.
constexpr size_t kRowsPerTask = 64;
constexpr float kLargestCode = 127.0F;

// Values that rounding alone does not bring into the codes. The last group may
// have fewer than `group`.
uint64_t CountClipped(absl::Span<const float> row,
                      absl::Span<const float> scales, size_t group) {
  uint64_t clipped = 0;
  for (size_t g = 0; g < scales.size(); ++g) {
    const float limit = scales[g] * (kLargestCode + 0.5F);
    for (const float value : row.subspan(g * group, group)) {
      clipped += std::fabs(value) > limit ? 1 : 0;
    }
  }
  return clipped;
}

}  // namespace

WeightSummary::Part WeightSummary::Summarize(
    MatrixView<const float> rows, absl::Span<const float> scales) const {
  std::vector<float> copy;
  if (!transform_.is_identity()) {
    copy.reserve(rows.rows * rows.cols);
    for (size_t r = 0; r < rows.rows; ++r) {
      copy.insert(copy.end(), rows.row(r), rows.row(r) + rows.cols);
    }
    transform_.ApplyToWeights({copy.data(), rows.rows, rows.cols});
    rows = {copy.data(), rows.rows, rows.cols};
  }
  Part part;
  part.values = uint64_t{rows.rows} * rows.cols;
  const size_t groups = scales.size() / rows.rows;
  const size_t group_size = group_size_ == 0 ? rows.cols : group_size_;
  for (size_t r = 0; r < rows.rows; ++r) {
    const absl::Span<const float> row(rows.row(r), rows.cols);
    const auto [low, high] = std::minmax_element(row.begin(), row.end());
    part.min = std::min(part.min, *low);
    part.max = std::max(part.max, *high);
    part.absmax.push_back(std::max(-*low, *high));
    double sum = 0.0;
    double squares = 0.0;
    for (const float value : row) {
      sum += value;
      squares += static_cast<double>(value) * value;
    }
    part.sum += sum;
    part.sum_squares += squares;
    if (groups == 0) continue;
    const absl::Span<const float> own = scales.subspan(r * groups, groups);
    part.clipped += CountClipped(row, own, group_size);
    part.largest_scale =
        std::max(part.largest_scale, *std::max_element(own.begin(), own.end()));
  }
  part.histogram.Widen(part.min, part.max);
  part.histogram.Count(rows);
  return part;
}

void WeightSummary::Merge(const Part& part) {
  all_.histogram.Merge(part.histogram);
  all_.min = std::min(all_.min, part.min);
  all_.max = std::max(all_.max, part.max);
  all_.sum += part.sum;
  all_.sum_squares += part.sum_squares;
  all_.values += part.values;
  all_.clipped += part.clipped;
  all_.largest_scale = std::max(all_.largest_scale, part.largest_scale);
  all_.absmax.insert(all_.absmax.end(), part.absmax.begin(), part.absmax.end());
}

void WeightSummary::Add(MatrixView<const float> rows,
                        absl::Span<const float> scales,
                        kernels::ThreadPool* pool) {
  if (rows.rows == 0 || rows.cols == 0) return;
  const size_t tasks = (rows.rows + kRowsPerTask - 1) / kRowsPerTask;
  const size_t groups = scales.size() / rows.rows;
  std::vector<Part> parts(tasks);
  const auto body = [&](size_t task) {
    const size_t first = task * kRowsPerTask;
    const size_t count = std::min(kRowsPerTask, rows.rows - first);
    parts[task] = Summarize({rows.row(first), count, rows.cols, rows.stride},
                            scales.subspan(first * groups, count * groups));
  };
  if (pool == nullptr) {
    for (size_t task = 0; task < tasks; ++task) body(task);
  } else {
    pool->ParallelFor(tasks, body);
  }
  for (const Part& part : parts) Merge(part);
}

bundle::TensorReport WeightSummary::Result() const {
  bundle::TensorReport report;
  if (all_.values == 0) return report;
  const auto count = static_cast<double>(all_.values);
  const double mean = all_.sum / count;
  report.min = all_.min;
  report.max = all_.max;
  report.sigma =
      std::sqrt(std::max(0.0, all_.sum_squares / count - mean * mean));
  report.clip_max = static_cast<double>(all_.largest_scale) * kLargestCode;
  report.clip_min = -report.clip_max;
  report.clipped_share = static_cast<double>(all_.clipped) / count;
  report.histogram = DescribeHistogram(all_.histogram);
  DescribeChannels(all_.absmax, report);
  return report;
}

}  // namespace octet::quantization
