// Live inputs of INT8 layers against what calibration saw.
//
//   range ratio      = max |x| of a layer's input in one request
//                      / max |x| that calibration saw there
//   saturated codes  : w8a8_static, x / s + zp outside [-0.5, 255.5], with the
//                      layer's scale s and zero point zp
//
// A ratio above 1 is input that calibration has not seen. Dynamic layers scale
// with it; static ones clip it, which is what the second number counts.

#ifndef OCTET_SERVER_SERVING_DRIFT_H_
#define OCTET_SERVER_SERVING_DRIFT_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "kernels/matrix_view.h"
#include "server/bundle/bundle.h"
#include "server/model/graph.h"
#include "server/model/model.h"

namespace octet::serving {

// What is known of the input of one INT8 layer.
struct InputLimits {
  std::string kind;  // model::LayerKind
  float absmax = 0;  // that calibration saw; 0: it saw nothing
  // w8a8_static: inputs outside are clipped. low == high: no such range.
  float low = 0;
  float high = 0;
  std::vector<float> factors;  // multiply x before; empty: none
};

using LimitsByLayer = std::map<std::string, InputLimits, std::less<>>;

// Of the INT8 layers. A static layer whose input is rotated has no range here:
// its codes are those of the rotated input.
LimitsByLayer LimitsOf(const bundle::Bundle& bundle);

struct Drift {
  std::vector<float> range_ratios;  // one for each layer
  uint64_t codes = 0;               // of static layers
  uint64_t saturated = 0;
};

using DriftByKind = std::map<std::string, Drift, std::less<>>;

class DriftObserver final : public model::LinearObserver {
 public:
  explicit DriftObserver(const LimitsByLayer& limits) : limits_(limits) {}

  absl::Status OnLinear(const model::Linear& linear,
                        kernels::MatrixView<const float> x,
                        kernels::MatrixView<const float> y) override;
  // Rows of a layer's input, however they came.
  void OnRows(std::string_view layer, kernels::MatrixView<const float> x);

  const DriftByKind& drift() const { return drift_; }

 private:
  const LimitsByLayer& limits_;
  DriftByKind drift_;
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_DRIFT_H_
