#include "server/quantization/search/trial.h"

#include <cmath>
#include <memory>
#include <utility>

#include "kernels/status_macros.h"
#include "server/model/fold_smoothing.h"
#include "server/model/str_cat.h"
#include "server/quantization/methods/error_measures.h"
#include "server/quantization/methods/layer_quantizer.h"
#include "server/quantization/storage/storage.h"

namespace octet::quantization {

using kernels::MatrixView;
using model::Linear;
using model::StrCat;

namespace {

// Of the rows that calibration kept, which are in random order.
constexpr size_t kFittedOf4 = 3;
// With fewer, all rows serve for both.
constexpr size_t kFewestRows = 32;

absl::StatusOr<std::vector<float>> ReadTensor(const model::TensorSource& source,
                                              const std::string& name) {
  ASSIGN_OR_RETURN(const model::TensorView tensor, source.Find(name));
  return ReadFloat(tensor, name);
}

// Whether a smoothing of these linears would be a part of what makes their
// input (model/fold_smoothing.h); factors do not matter.
bool SmoothingFolds(const model::Graph& graph, const InputGroup& linears) {
  model::LayerFactors smoothing;
  for (const Linear* linear : linears) smoothing[linear->layer] = {};
  return !model::FoldSmoothing(graph, smoothing).multiplied.empty();
}

uint64_t FloatBytes(const Linear& linear, model::Scheme scheme) {
  const size_t size = scheme == model::Scheme::kFp32 ? 4 : 2;
  return uint64_t{size} * linear.out_features * linear.in_features;
}

}  // namespace

double Trial::noise() const {
  double sum = 0.0;
  for (const TriedLayer& layer : layers) sum += layer.noise;
  return sum / static_cast<double>(layers.size());
}

double Trial::seconds() const {
  double sum = 0.0;
  for (const TriedLayer& layer : layers) sum += layer.seconds;
  return sum;
}

uint64_t Trial::stored_bytes() const {
  uint64_t sum = 0;
  for (const TriedLayer& layer : layers) sum += layer.stored_bytes;
  return sum;
}

absl::StatusOr<TrialGroup> TrialGroup::Load(
    InputGroup linears, const model::Graph& graph,
    const model::TensorSource& checkpoint, const Calibration& calibration,
    kernels::ThreadPool* pool, const std::function<bool()>& cancelled) {
  TrialGroup group(std::move(linears), checkpoint, pool, cancelled);
  group.folds_ = SmoothingFolds(graph, group.linears_);
  const Linear& first = *group.linears_.front();
  const CalibratedInput* input = calibration.Find(first.layer);
  group.facts_.layer = first.layer;
  group.facts_.samples = calibration.SamplesOf(first.layer);
  if (input == nullptr || group.facts_.samples.rows.rows == 0) {
    return absl::FailedPreconditionError(
        StrCat("layer '", first.layer,
               "': policy 'auto' needs a calibration that has seen its inputs "
               "and kept rows of them"));
  }
  group.facts_.statistics = &input->statistics;
  group.SplitRows();
  for (const Linear* linear : group.linears_) {
    RETURN_IF_ERROR(group.LoadWeights(*linear));
  }
  for (size_t i = 0; i < group.linears_.size(); ++i) {
    group.views_.emplace_back(group.weights_[i].weight.data(),
                              group.linears_[i]->out_features,
                              group.linears_[i]->in_features);
  }
  group.shared_ = std::make_unique<SharedWeights>(group.views_);
  group.facts_.weights = group.shared_.get();
  return group;
}

void TrialGroup::SplitRows() {
  const MatrixView<const float> rows = facts_.samples.rows;
  fitted_ = facts_.samples;
  measured_ = rows;
  if (rows.rows < kFewestRows) return;
  fitted_.rows.rows = rows.rows / 4 * kFittedOf4;
  measured_.data = rows.row(fitted_.rows.rows);
  measured_.rows = rows.rows - fitted_.rows.rows;
}

absl::Status TrialGroup::LoadWeights(const Linear& linear) {
  Weights weights;
  ASSIGN_OR_RETURN(weights.weight,
                   ReadTensor(*checkpoint_, StrCat(linear.layer, ".weight")));
  if (linear.has_bias) {
    ASSIGN_OR_RETURN(weights.bias,
                     ReadTensor(*checkpoint_, StrCat(linear.layer, ".bias")));
  }
  ASSIGN_OR_RETURN(const auto exact,
                   model::MakeLinearLayer(
                       linear, {.scheme = model::Scheme::kFp32}, *checkpoint_));
  weights.expected.resize(measured_.rows * linear.out_features);
  kernels::LinearCall call;
  call.pool = pool_;
  RETURN_IF_ERROR(exact->Run(
      measured_, {weights.expected.data(), measured_.rows, linear.out_features},
      call));
  weights_.push_back(std::move(weights));
  return absl::OkStatus();
}

absl::StatusOr<Trial> TrialGroup::Try(const LayerRequest& request,
                                      const PlanRequest& outliers,
                                      SpeedTable& speed) const {
  std::vector<std::string> warnings;  // of a plan nobody has chosen yet
  InputFacts facts = facts_;
  facts.samples = fitted_;
  ASSIGN_OR_RETURN(const LayerPlan plan,
                   PlanInput(request, outliers, facts, pool_, warnings));
  Trial trial{.request = request, .layers = {}, .warnings = {}};
  for (size_t i = 0; i < linears_.size(); ++i) {
    const Linear& linear = *linears_[i];
    TriedLayer tried{.linear = &linear, .plan = plan, .output = {}};
    TrialTensors tensors(*checkpoint_);
    RETURN_IF_ERROR(PutLayer(i, plan, fitted_, tensors));
    ASSIGN_OR_RETURN(const auto layer,
                     model::MakeLinearLayer(linear, plan.scheme, tensors));
    RETURN_IF_ERROR(Measure(i, *layer, tried));
    RETURN_IF_ERROR(MeasureCost(linear, *layer, tensors, speed, tried));
    trial.layers.push_back(std::move(tried));
  }
  return trial;
}

absl::Status TrialGroup::MeasureCost(const Linear& linear,
                                     const model::LinearLayer& layer,
                                     const TrialTensors& tensors,
                                     SpeedTable& speed,
                                     TriedLayer& tried) const {
  LayerPlan served = tried.plan;
  tried.stored_bytes = model::IsInt8(served.scheme.scheme)
                           ? tensors.StoredBytes(linear)
                           : FloatBytes(linear, served.scheme.scheme);
  if (!served.scheme.smoothed || !folds_) {
    ASSIGN_OR_RETURN(tried.seconds,
                     speed.Seconds(linear, served, layer, measured_));
    return absl::OkStatus();
  }
  // The trial divides its input itself; once it is folded, nobody has to.
  served.scheme.smoothed = false;
  tried.stored_bytes -= linear.in_features * sizeof(float);
  ASSIGN_OR_RETURN(const auto folded,
                   model::MakeLinearLayer(linear, served.scheme, tensors));
  ASSIGN_OR_RETURN(tried.seconds,
                   speed.Seconds(linear, served, *folded, measured_));
  return absl::OkStatus();
}

absl::Status TrialGroup::Put(const PlanRequest& outliers, Trial& trial,
                             TrialTensors& tensors) const {
  trial.warnings.clear();
  LayerRequest request = trial.request;
  if (request.methods.smoothing == Smoothing::kSearch) {
    request.methods.smoothing = Smoothing::kAlpha;  // that the trial found
    request.methods.smoothing_alpha = trial.layers.front().plan.smoothing_alpha;
  }
  ASSIGN_OR_RETURN(const LayerPlan plan,
                   PlanInput(request, outliers, facts_, pool_, trial.warnings));
  for (size_t i = 0; i < linears_.size(); ++i) {
    RETURN_IF_ERROR(PutLayer(i, plan, facts_.samples, tensors));
    trial.layers[i].plan = plan;
  }
  return absl::OkStatus();
}

absl::Status TrialGroup::PutLayer(size_t index, const LayerPlan& plan,
                                  const LayerSamples& samples,
                                  TrialTensors& tensors) const {
  const Linear& linear = *linears_[index];
  if (!model::IsInt8(plan.scheme.scheme)) {
    tensors.Remove(linear);  // rounded from the checkpoint's when it is loaded
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const QuantizedLayer layer,
                   QuantizeLayer(StrCat(linear.layer, ".weight"), views_[index],
                                 weights_[index].bias, plan, samples, pool_,
                                 &compensations_));
  tensors.Put(linear, plan, layer);
  return absl::OkStatus();
}

absl::Status TrialGroup::Measure(size_t index, const model::LinearLayer& layer,
                                 TriedLayer& tried) const {
  const std::vector<float>& expected = weights_[index].expected;
  std::vector<float> actual(expected.size());
  kernels::LinearCall call;
  call.pool = pool_;
  RETURN_IF_ERROR(layer.Run(
      measured_, {actual.data(), measured_.rows, linears_[index]->out_features},
      call));
  ErrorAccumulator errors;
  errors.Add(expected, actual);
  tried.output = errors.Result();
  tried.noise = std::pow(10.0, -0.1 * tried.output.sqnr_db);
  return absl::OkStatus();
}

}  // namespace octet::quantization
