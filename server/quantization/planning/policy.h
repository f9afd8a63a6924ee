// What a caller wants of a quantization: which layers, by which methods, and
// either one way for all (fixed) or a budget to keep to (auto). Nothing here
// has looked at weights or statistics.

#ifndef OCTET_SERVER_QUANTIZATION_PLANNING_POLICY_H_
#define OCTET_SERVER_QUANTIZATION_PLANNING_POLICY_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/model/graph.h"
#include "server/model/scheme.h"
#include "server/quantization/calibration/input_groups.h"
#include "server/quantization/methods/calibrators.h"
#include "server/quantization/methods/layer_plan.h"

namespace octet::quantization {

enum class Policy : uint8_t { kFixed, kAuto };

enum class OutlierRule : uint8_t { kAbsolute, kSigma };

enum class Smoothing : uint8_t {
  kNone,
  kAlpha,   // one alpha for all layers
  kSearch,  // each input's own alpha, by the error of what reads it
};

// How an INT8 layer is quantized, beside its scheme.
struct Methods {
  Smoothing smoothing = Smoothing::kNone;
  double smoothing_alpha = 0.5;  // kAlpha: 0 follows weights, 1 activations
  uint32_t hadamard_block = 0;   // 0: no rotation
  uint32_t group_size = 0;       // 0: a scale per output channel
  Rounding rounding = Rounding::kNearest;
  bool bias_correction = false;
  Calibrator calibrator = Calibrator::kMinMax;  // of static ranges
  double percentile = kDefaultPercentile;       // for Calibrator::kPercentile

  friend bool operator==(const Methods&, const Methods&) = default;
};

// Changes what is set and leaves the rest.
struct MethodsOverride {
  std::optional<Smoothing> smoothing;
  std::optional<double> smoothing_alpha;
  std::optional<uint32_t> hadamard_block;
  std::optional<uint32_t> group_size;
  std::optional<Rounding> rounding;
  std::optional<bool> bias_correction;
  std::optional<Calibrator> calibrator;
  std::optional<double> percentile;

  Methods Over(Methods methods) const;
};

// Exactly one of the first four. Quality is that of the model's output on
// samples that calibration kept.
struct Budget {
  // To the float model, over samples.
  std::optional<double> min_mean_cosine = std::nullopt;
  // |y - y_int8| / |y|
  std::optional<double> max_relative_error = std::nullopt;
  // All tensors of the bundle.
  std::optional<uint64_t> max_bytes = std::nullopt;
  // To the checkpoint in FP32.
  std::optional<double> max_size_ratio = std::nullopt;
  // Of any sample; beside any other.
  std::optional<double> min_worst_cosine = std::nullopt;
};

// Patterns are shell globs over layer names: "encoder.layer.*.output.dense".
struct PlanRequest {
  Policy policy = Policy::kFixed;
  Budget budget;                                       // kAuto
  model::Scheme scheme = model::Scheme::kW8A8Dynamic;  // kFixed
  Methods methods;                                     // kFixed
  model::Scheme float_scheme = model::Scheme::kFp16;   // for what stays float
  std::vector<std::string> include;                    // empty: every linear
  std::vector<std::string> exclude;                    // wins over include
  bool keep_first = false;  // first linear(s) stay float
  bool keep_last = false;   // last linear stays float
  struct Override {
    std::string pattern;
    std::optional<model::Scheme> scheme;  // unset: as without the override
    MethodsOverride methods = {};
  };
  std::vector<Override> overrides;  // the last that matches wins
  OutlierRule outlier_rule = OutlierRule::kAbsolute;
  double outlier_threshold = 6.0;  // absolute value, or multiple of sigma
};

// What the request says of one layer.
struct LayerRequest {
  model::Scheme scheme = model::Scheme::kFp32;
  Methods methods;
  std::string reason;    // "" or why it stays float
  bool is_free = false;  // kAuto may choose: nothing names this layer
};

// Every linear of the graph. Errors: INVALID_ARGUMENT beginning with the
// field's name, where a pattern matches no layer, a number is out of its range
// or the budget does not say one thing.
absl::StatusOr<std::map<std::string, LayerRequest>> ResolveRequest(
    const model::Graph& graph, const PlanRequest& request);

// Linears of one input that are quantized by one request.
struct AlikeLinears {
  LayerRequest request;  // with the reason of the first
  InputGroup linears;
};

// In order of their first linears.
std::vector<AlikeLinears> SplitByRequest(
    const InputGroup& group,
    const std::map<std::string, LayerRequest>& requests);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_PLANNING_POLICY_H_
