#include "server/quantization/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"
#include "server/model/model.h"
#include "server/quantization/candidates.h"
#include "server/quantization/evaluator.h"
#include "server/quantization/limit_search.h"
#include "server/quantization/report_data.h"
#include "server/quantization/search_items.h"
#include "server/quantization/search_report.h"
#include "server/quantization/storage.h"
#include "server/quantization/trial_tensors.h"

namespace octet::quantization {
namespace {

using model::ModelInput;

// Gains need few samples, the verification many.
constexpr double kTuningShare = 0.375;
// With fewer, all samples serve for both.
constexpr size_t kFewestSamples = 16;
// Each is a run of the whole model, and moves the limit by what it found.
constexpr int kMostVerifications = 6;
// Plans that use less of the budget than this are tried with a higher limit.
constexpr double kSlack = 0.85;
constexpr double kOneSided95 = 1.645;
// Of a budget of quality; texts of another kind than calibration's do worse.
constexpr double kUsable = 0.8;
constexpr size_t kNamedLayers = 3;
constexpr double kMicroseconds = 1e6;

struct Split {
  ModelInput tuning;
  ModelInput verification;
  bool is_held_out = true;
};

// Kept samples are in random order.
Split SplitSamples(const ModelInput& kept) {
  const size_t count =
      kept.feature_rows > 0 ? kept.feature_rows : kept.lengths.size();
  if (count < kFewestSamples) return {kept, kept, false};
  const auto first =
      static_cast<size_t>(kTuningShare * static_cast<double>(count));
  Split split;
  if (kept.feature_rows > 0) {
    const size_t values = kept.features.size() / count * first;
    split.tuning.features.assign(kept.features.begin(),
                                 kept.features.begin() + values);
    split.tuning.feature_rows = first;
    split.verification.features.assign(kept.features.begin() + values,
                                       kept.features.end());
    split.verification.feature_rows = count - first;
    return split;
  }
  size_t token = 0;
  for (size_t i = 0; i < count; ++i) {
    ModelInput& into = i < first ? split.tuning : split.verification;
    into.lengths.push_back(kept.lengths[i]);
    into.token_ids.insert(into.token_ids.end(), kept.token_ids.begin() + token,
                          kept.token_ids.begin() + token + kept.lengths[i]);
    token += kept.lengths[i];
  }
  return split;
}

using Choice = std::vector<size_t>;  // a trial of each item

class Search {
 public:
  explicit Search(const SearchJob& job)
      : job_(job), measure_(MeasureOf(job.request.budget)) {}

  absl::StatusOr<SearchResult> Run() {
    RETURN_IF_ERROR(Prepare());
    for (SearchItem& item : items_) {
      RETURN_IF_ERROR(TryAll(job_, *tuning_, speed_, item));
    }
    options_ = Options(items_, measure_);
    RETURN_IF_ERROR(Find());
    return Result();
  }

 private:
  absl::Status Prepare() {
    const Split split = SplitSamples(job_.calibration.KeptInputs());
    if (!job_.graph.output || split.verification.rows() == 0) {
      return absl::FailedPreconditionError(
          job_.graph.output
              ? "policy 'auto' measures the model's output: it needs a "
                "calibration that was given model inputs, not only activations"
              : "policy 'auto' measures the model's output, and this model has "
                "none; use policy 'fixed'");
    }
    ASSIGN_OR_RETURN(float_model_,
                     model::Model::Create(job_.graph, job_.checkpoint, {}));
    tuning_.emplace(Tuning{*float_model_, EvaluationBatches(split.tuning), {}});
    verification_ = EvaluationBatches(split.verification);
    ASSIGN_OR_RETURN(tuning_->outputs, RunFloat(tuning_->batches));
    ASSIGN_OR_RETURN(expected_, RunFloat(verification_));
    result_.tuned_rows =
        static_cast<int64_t>(Compare(tuning_->outputs, tuning_->outputs).rows);
    RETURN_IF_ERROR(PrepareStorage());
    return absl::OkStatus();
  }

  // How everything is stored that no choice changes.
  absl::Status PrepareStorage() {
    QuantizationPlan floats;
    for (const model::Linear* linear : job_.graph.Linears()) {
      floats.layers[linear->layer].scheme.scheme = job_.request.float_scheme;
    }
    ASSIGN_OR_RETURN(
        const std::vector<StoredTensor> stored,
        PlanStorage(job_.graph, job_.checkpoint, job_.request.float_scheme,
                    job_.cancelled, job_.pool, floats));
    tensors_.emplace(job_.checkpoint);
    for (const StoredTensor& tensor : stored) {
      ASSIGN_OR_RETURN(const model::TensorView view,
                       job_.checkpoint.Find(tensor.name));
      const bool is_half = view.type == model::DataType::kF16 ||
                           view.type == model::DataType::kBF16;
      checkpoint_bytes_ += view.bytes.size() * (is_half ? 2 : 1);
      if (tensor.linear != nullptr) continue;
      for (const bundle::TensorInfo& part : tensor.parts) {
        other_bytes_ += ByteSize(part);
      }
      if (tensor.type != view.type) {
        RETURN_IF_ERROR(tensors_->Round(tensor.name, tensor.type));
      }
    }
    std::map<std::string, model::Scheme> float_schemes;
    for (const auto& [layer, plan] : floats.layers) {
      float_schemes[layer] = plan.scheme.scheme;
    }
    result_.plan.warnings = std::move(floats.warnings);
    ASSIGN_OR_RETURN(items_, MakeItems(job_, float_schemes));
    placed_.resize(items_.size());
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<model::ModelOutput>> RunFloat(
      const std::vector<ModelInput>& batches) const {
    return RunBatches(*float_model_, batches, nullptr, job_.pool,
                      job_.cancelled);
  }

  double Limit() const {
    const Budget& budget = job_.request.budget;
    if (budget.min_mean_cosine) {
      return kUsable * (1.0 - *budget.min_mean_cosine);
    }
    if (budget.max_relative_error) {
      return kUsable * *budget.max_relative_error * *budget.max_relative_error;
    }
    const double bytes =
        budget.max_bytes
            ? static_cast<double>(*budget.max_bytes)
            : *budget.max_size_ratio * static_cast<double>(checkpoint_bytes_);
    return bytes - static_cast<double>(other_bytes_);
  }

  // What the budget limits, as it must be assumed from a measurement.
  double Assumed(const Harm& harm) const {
    return measure_ == Measure::kMeanCosine
               ? harm.mean_cosine_loss + kOneSided95 * harm.cosine_loss_error
               : harm.relative_square;
  }

  bool Holds(const Choice& choice, const Harm& harm) const {
    const auto worst = job_.request.budget.min_worst_cosine;
    if (worst && harm.worst_cosine < *worst) return false;
    const double reached =
        measure_ == Measure::kBytes ? Use(choice) : Assumed(harm);
    return reached <= Limit();
  }

  double Use(const Choice& choice) const {
    double use = 0.0;
    for (size_t i = 0; i < choice.size(); ++i) {
      use += options_[i][choice[i]].use;
    }
    return use;
  }

  double Cost(const Choice& choice) const {
    double cost = 0.0;
    for (size_t i = 0; i < choice.size(); ++i) {
      cost += options_[i][choice[i]].cost;
    }
    return cost;
  }

  // The whole model, as its bundle would be loaded.
  absl::StatusOr<Harm> Verify(const Choice& choice) {
    model::Plan plan;
    for (size_t i = 0; i < items_.size(); ++i) {
      RETURN_IF_ERROR(Place(i, choice[i]));
      for (const TriedLayer& layer : items_[i].trials[choice[i]].layers) {
        plan[layer.linear->layer] = layer.plan.scheme;
      }
    }
    ASSIGN_OR_RETURN(const auto quantized,
                     model::Model::Create(job_.graph, *tensors_, plan));
    ASSIGN_OR_RETURN(const auto outputs,
                     RunBatches(*quantized, verification_, nullptr, job_.pool,
                                job_.cancelled));
    ++result_.verified_plans;
    const Harm harm = Compare(expected_, outputs);
    result_.frontier.push_back(MeasuredPoint(items_, choice, harm));
    return harm;
  }

  absl::Status Place(size_t item, size_t trial) {
    if (placed_[item] == trial) return absl::OkStatus();
    const std::string& layer = items_[item].linears.front()->layer;
    if (job_.on_step) RETURN_IF_ERROR(job_.on_step(layer));
    ASSIGN_OR_RETURN(const TrialGroup group,
                     TrialGroup::Load(items_[item].linears, job_.checkpoint,
                                      job_.calibration, job_.pool));
    RETURN_IF_ERROR(
        group.Put(job_.request, items_[item].trials[trial], *tensors_));
    placed_[item] = trial;
    return absl::OkStatus();
  }

  absl::Status Find() {
    if (measure_ == Measure::kBytes) return FindWithinBytes();
    LimitSearch limits(Limit());
    std::set<Choice> seen;
    for (int i = 0; i < kMostVerifications; ++i) {
      const Choice choice =
          Choose(options_, limits.next()).value_or(ChooseLeastUse(options_));
      if (!seen.insert(choice).second) break;
      ASSIGN_OR_RETURN(const Harm harm, Verify(choice));
      const bool holds = Holds(choice, harm);
      Remember(choice, harm, holds);
      const double share = Assumed(harm) / Limit();
      if (holds && share > kSlack) break;
      limits.Add(share, holds);
    }
    if (best_) return absl::OkStatus();
    const Choice safest = ChooseLeastUse(options_);
    if (!seen.contains(safest)) {
      ASSIGN_OR_RETURN(const Harm harm, Verify(safest));
      Remember(safest, harm, Holds(safest, harm));
    }
    return best_ ? absl::OkStatus() : CannotHold();
  }

  absl::Status FindWithinBytes() {
    const auto choice = Choose(options_, std::max(0.0, Limit()));
    if (!choice) {
      const double least = Use(ChooseLeastUse(options_));
      return absl::FailedPreconditionError(absl::StrFormat(
          "no plan keeps to the size limit: the smallest takes %.0f bytes, %d "
          "of them in tensors that are not linear weights; the limit is %.0f",
          least + static_cast<double>(other_bytes_), other_bytes_,
          Limit() + static_cast<double>(other_bytes_)));
    }
    ASSIGN_OR_RETURN(const Harm harm, Verify(*choice));
    Remember(*choice, harm, Holds(*choice, harm));
    return best_ ? absl::OkStatus() : CannotHold();
  }

  // The fastest plan that holds, and the one that comes nearest.
  void Remember(const Choice& choice, const Harm& harm, bool holds) {
    if (!nearest_ || Assumed(harm) < Assumed(nearest_->harm)) {
      nearest_ = Found{choice, harm, result_.frontier.size() - 1};
    }
    if (holds && (!best_ || Cost(choice) < Cost(best_->choice))) {
      best_ = Found{choice, harm, result_.frontier.size() - 1};
    }
  }

  absl::Status CannotHold() const {
    const Harm& harm = nearest_->harm;
    return absl::FailedPreconditionError(absl::StrFormat(
        "no plan keeps to the budget: the best reaches a mean cosine of %.6f "
        "(%.6f with 95 %% confidence), a worst of %.6f and a relative error of "
        "%.6f on %d samples that calibration kept. Most of its error comes "
        "from %s. Relax the budget, calibrate on more samples%s",
        1.0 - harm.mean_cosine_loss,
        1.0 - harm.mean_cosine_loss - kOneSided95 * harm.cosine_loss_error,
        harm.worst_cosine, std::sqrt(harm.relative_square), harm.rows,
        LayersInTheWay(items_, nearest_->choice, kNamedLayers),
        job_.request.float_scheme == model::Scheme::kFp32
            ? "."
            : ", or keep float layers in FP32."));
  }

  absl::StatusOr<SearchResult> Result() {
    for (size_t i = 0; i < items_.size(); ++i) {
      const SearchItem& item = items_[i];
      const size_t chosen = best_->choice[i];
      for (size_t l = 0; l < item.linears.size(); ++l) {
        const TriedLayer& layer = item.trials[chosen].layers[l];
        LayerPlan& plan = result_.plan.layers[layer.linear->layer];
        plan = layer.plan;
        if (!model::IsInt8(plan.scheme.scheme)) {
          plan.reason = item.requests[chosen].reason.empty()
                            ? "chosen by measurement, to keep to the budget"
                            : item.requests[chosen].reason;
        }
        result_.candidates[layer.linear->layer] =
            DescribeCandidates(item, l, chosen);
      }
    }
    result_.frontier[best_->point].chosen = true;
    AddPredictedPoints(items_, options_, measure_, result_.frontier);
    ASSIGN_OR_RETURN(result_.frontier.emplace_back(), MeasuredFloatPoint());
    result_.speed_kernel = speed_.int8_kernel();
    result_.budgets =
        DescribeBudgets(job_.request.budget, best_->harm,
                        Use(best_->choice) + static_cast<double>(other_bytes_),
                        checkpoint_bytes_);
    return std::move(result_);
  }

  absl::StatusOr<bundle::FrontierPoint> MeasuredFloatPoint() {
    uint64_t bytes = 0;
    double seconds = 0.0;
    for (const model::Linear* linear : job_.graph.Linears()) {
      ASSIGN_OR_RETURN(const model::LinearLayer* layer,
                       float_model_->FindLinear(linear->layer));
      ASSIGN_OR_RETURN(
          const double least,
          speed_.Seconds(*linear, {}, *layer,
                         job_.calibration.SamplesOf(linear->layer).rows));
      seconds += least;
      bytes += linear->out_features * linear->in_features * sizeof(float);
    }
    bundle::FrontierPoint point = FloatPoint(bytes);
    point.microseconds = kMicroseconds * seconds;
    return point;
  }

  struct Found {
    Choice choice;
    Harm harm;
    size_t point = 0;  // of the frontier
  };

  const SearchJob& job_;
  const Measure measure_;
  std::unique_ptr<const model::Model> float_model_;
  std::optional<Tuning> tuning_;
  std::vector<ModelInput> verification_;
  std::vector<model::ModelOutput> expected_;
  std::optional<TrialTensors> tensors_;
  std::vector<std::optional<size_t>> placed_;  // trial whose tensors are there
  std::vector<SearchItem> items_;
  std::vector<std::vector<Option>> options_;
  SpeedTable speed_;
  uint64_t checkpoint_bytes_ = 0;  // as FP32
  uint64_t other_bytes_ = 0;       // of what is no linear's weight
  std::optional<Found> best_;
  std::optional<Found> nearest_;
  SearchResult result_;
};

}  // namespace

size_t SearchSteps(const model::Graph& graph, const PlanRequest& request) {
  const size_t candidates =
      Candidates(std::numeric_limits<size_t>::max(), nullptr, request,
                 request.float_scheme)
          .size() +
      1;  // LLM.int8, which needs outliers
  return graph.Linears().size() * (candidates + kMostVerifications + 1);
}

absl::StatusOr<SearchResult> SearchPlan(const SearchJob& job) {
  return Search(job).Run();
}

}  // namespace octet::quantization
