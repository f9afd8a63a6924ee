// One way to quantize the linears that read one input, tried: what it does to
// their output on rows that calibration kept, and what it costs.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_TRIAL_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_TRIAL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/thread_pool.h"
#include "server/bundle/report.h"
#include "server/model/graph.h"
#include "server/model/linear_layer.h"
#include "server/model/tensor.h"
#include "server/quantization/calibration/calibration.h"
#include "server/quantization/calibration/input_groups.h"
#include "server/quantization/methods/compensations.h"
#include "server/quantization/methods/layer_plan.h"
#include "server/quantization/methods/shared_weights.h"
#include "server/quantization/planning/input_plan.h"
#include "server/quantization/planning/policy.h"
#include "server/quantization/search/speed.h"
#include "server/quantization/search/trial_tensors.h"

namespace octet::quantization {

struct TriedLayer {
  const model::Linear* linear = nullptr;
  LayerPlan plan;
  bundle::ErrorMeasures output;  // against the float linear, no activation
  double noise = 0.0;            // |y - y_int8|^2 / |y|^2, of the same
  double seconds = 0.0;          // for kSpeedRows rows
  uint64_t stored_bytes = 0;
};

struct Trial {
  LayerRequest request;
  std::vector<TriedLayer> layers;     // as in the group
  std::vector<std::string> warnings;  // of its plan, once it was Put

  // Mean over layers: they take part in the model's error alike.
  double noise() const;
  double seconds() const;
  uint64_t stored_bytes() const;
};

// Linears that read one input and are quantized alike, with what is known of
// both. Float weights are held as long as this lives.
class TrialGroup {
 public:
  // FAILED_PRECONDITION where calibration kept no rows of the input.
  // `cancelled` may be empty; what takes long asks it (gptq.h).
  static absl::StatusOr<TrialGroup> Load(
      InputGroup linears, const model::Graph& graph,
      const model::TensorSource& checkpoint, const Calibration& calibration,
      kernels::ThreadPool* pool, const std::function<bool()>& cancelled);

  const InputGroup& linears() const { return linears_; }

  // Fitted to most of the rows and measured on the others: what compensates
  // errors on rows that it knows says little of those it does not know. Errors:
  // those of PlanInput and QuantizeLayer.
  absl::StatusOr<Trial> Try(const LayerRequest& request,
                            const PlanRequest& outliers,
                            SpeedTable& speed) const;

  // Quantizes the layers as in the trial, fitted to all rows of SamplesOf; the
  // trial gets the plan of that, and its warnings.
  absl::Status Put(const PlanRequest& outliers, Trial& trial,
                   TrialTensors& tensors) const;

 private:
  struct Weights {
    std::vector<float> weight;
    std::vector<float> bias;      // or empty
    std::vector<float> expected;  // [rows, N], of the float linear
  };

  TrialGroup(InputGroup linears, const model::TensorSource& checkpoint,
             kernels::ThreadPool* pool, const std::function<bool()>& cancelled)
      : linears_(std::move(linears)),
        checkpoint_(&checkpoint),
        pool_(pool),
        compensations_(cancelled) {}

  void SplitRows();
  // What serving the layer costs, in time and bytes.
  absl::Status MeasureCost(const model::Linear& linear,
                           const model::LinearLayer& layer,
                           const TrialTensors& tensors, SpeedTable& speed,
                           TriedLayer& tried) const;
  absl::Status LoadWeights(const model::Linear& linear);
  absl::Status PutLayer(size_t index, const LayerPlan& plan,
                        const LayerSamples& samples,
                        TrialTensors& tensors) const;
  absl::Status Measure(size_t index, const model::LinearLayer& layer,
                       TriedLayer& tried) const;

  InputGroup linears_;
  bool folds_ = false;  // what makes the input can divide it for a smoothing
  const model::TensorSource* checkpoint_;
  kernels::ThreadPool* pool_;
  InputFacts facts_;
  LayerSamples fitted_;  // rows that a trial is fitted to,
  kernels::MatrixView<const float> measured_;  // and measured on
  std::vector<Weights> weights_;
  std::vector<kernels::MatrixView<const float>> views_;
  std::unique_ptr<SharedWeights> shared_;  // of them
  mutable Compensations compensations_;    // what was last computed, kept
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_TRIAL_H_
