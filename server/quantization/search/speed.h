// How long a layer takes on this host: seconds for kSpeedRows rows on one
// thread, the least of some runs, since other work only ever adds. Runs take
// turns with fixed work (pace.h), and times are as if that took what it took at
// first. Layers of one shape and kind are as fast as each other and are
// measured once.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_SPEED_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_SPEED_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/matrix_view.h"
#include "server/model/graph.h"
#include "server/model/linear_layer.h"
#include "server/model/model.h"
#include "server/quantization/calibration/calibration.h"
#include "server/quantization/methods/layer_plan.h"
#include "server/quantization/search/pace.h"

namespace octet::quantization {

inline constexpr size_t kSpeedRows = 128;

class SpeedTable {
 public:
  // `rows` are inputs of the layer, repeated where there are too few of them;
  // at least one.
  absl::StatusOr<double> Seconds(const model::Linear& linear,
                                 const LayerPlan& plan,
                                 const model::LinearLayer& layer,
                                 kernels::MatrixView<const float> rows);

  // Of all linears of a model together, on rows that calibration kept; `plans`
  // has those that are not FP32. 0 where it kept none of one of them.
  absl::StatusOr<double> SecondsOfLinears(
      const model::Model& model, const std::map<std::string, LayerPlan>& plans,
      const Calibration& calibration);

  // That ran the INT8 layers; "" before one was measured.
  const std::string& int8_kernel() const { return int8_kernel_; }

 private:
  // N, K, scheme, group size, rotation, smoothed or not, outlier columns
  using Kind = std::tuple<size_t, size_t, model::Scheme, uint32_t, uint32_t,
                          bool, size_t>;

  absl::StatusOr<double> AtOnePace(absl::FunctionRef<absl::Status()> run);

  std::optional<Pace> pace_;
  double first_pace_ = 0.0;  // seconds; 0: not measured yet
  std::map<Kind, double> seconds_;
  std::string int8_kernel_;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_SPEED_H_
