#include "server/quantization/search/speed.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/status_macros.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;

// A layer of 384 x 1536 takes a third of a millisecond: of so many runs one is
// undisturbed, most of the time.
constexpr int kRuns = 9;

// Makes `seconds` what `run` took, if that is less.
absl::Status TakeLeast(absl::FunctionRef<absl::Status()> run, double& seconds) {
  const absl::Time start = absl::Now();
  RETURN_IF_ERROR(run());
  seconds = std::min(seconds, absl::ToDoubleSeconds(absl::Now() - start));
  return absl::OkStatus();
}

std::vector<float> Repeat(MatrixView<const float> rows, size_t count) {
  std::vector<float> repeated;
  repeated.reserve(count * rows.cols);
  for (size_t r = 0; r < count; ++r) {
    const float* row = rows.row(r % rows.rows);
    repeated.insert(repeated.end(), row, row + rows.cols);
  }
  return repeated;
}

}  // namespace

absl::StatusOr<double> SpeedTable::Seconds(const model::Linear& linear,
                                           const LayerPlan& plan,
                                           const model::LinearLayer& layer,
                                           MatrixView<const float> rows) {
  const Kind kind = {linear.out_features,        linear.in_features,
                     plan.scheme.scheme,         plan.scheme.group_size,
                     plan.scheme.hadamard_block, plan.scheme.smoothed,
                     plan.outlier_columns.size()};
  if (const auto found = seconds_.find(kind); found != seconds_.end()) {
    return found->second;
  }
  const std::vector<float> x = Repeat(rows, kSpeedRows);
  std::vector<float> y(kSpeedRows * linear.out_features);
  ASSIGN_OR_RETURN(const double seconds, AtOnePace([&] {
                     return layer.Run(
                         {x.data(), kSpeedRows, rows.cols},
                         {y.data(), kSpeedRows, linear.out_features}, {});
                   }));
  seconds_.emplace(kind, seconds);
  if (layer.int8() != nullptr) int8_kernel_ = layer.kernel_name();
  return seconds;
}

absl::StatusOr<double> SpeedTable::AtOnePace(
    absl::FunctionRef<absl::Status()> run) {
  if (!pace_) {
    ASSIGN_OR_RETURN(pace_, Pace::Create());
  }
  double least = std::numeric_limits<double>::infinity();
  double pace = least;
  // The first run warms caches up, and is one of those that are not the least.
  for (int i = 0; i < kRuns; ++i) {
    RETURN_IF_ERROR(TakeLeast([this] { return pace_->Work(); }, pace));
    RETURN_IF_ERROR(TakeLeast(run, least));
  }
  if (first_pace_ == 0.0) first_pace_ = pace;
  return least * (first_pace_ / pace);
}

absl::StatusOr<double> SpeedTable::SecondsOfLinears(
    const model::Model& model, const std::map<std::string, LayerPlan>& plans,
    const Calibration& calibration) {
  double sum = 0.0;
  for (const model::Linear* linear : model.graph().Linears()) {
    const MatrixView<const float> rows =
        calibration.SamplesOf(linear->layer).rows;
    if (rows.rows == 0) return 0.0;
    ASSIGN_OR_RETURN(const model::LinearLayer* layer,
                     model.FindLinear(linear->layer));
    const auto plan = plans.find(linear->layer);
    ASSIGN_OR_RETURN(
        const double seconds,
        Seconds(*linear, plan == plans.end() ? LayerPlan() : plan->second,
                *layer, rows));
    sum += seconds;
  }
  return sum;
}

}  // namespace octet::quantization
