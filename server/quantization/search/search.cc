#include "server/quantization/search/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"
#include "server/model/model.h"
#include "server/quantization/search/allowance.h"
#include "server/quantization/search/candidates.h"
#include "server/quantization/search/evaluator.h"
#include "server/quantization/search/limit_search.h"
#include "server/quantization/search/sample_split.h"
#include "server/quantization/search/search_items.h"
#include "server/quantization/search/search_report.h"
#include "server/quantization/search/trial_tensors.h"
#include "server/quantization/storage/budget_report.h"
#include "server/quantization/storage/report_data.h"
#include "server/quantization/storage/storage.h"

namespace octet::quantization {
namespace {

using model::ModelInput;

// Each is a run of the whole model, and moves the limit by what it found.
constexpr int kMostVerifications = 6;
// Each was a whole bundle, written and measured. The next one is the last: the
// plan that errs least.
constexpr size_t kMostRefused = 3;
// Plans that use less of the budget than this are tried with a higher limit, as
// long as that promises to be faster by more than times differ by chance.
constexpr double kSlack = 0.85;
constexpr double kFaster = 0.01;
// Leaves kFewestVerified, however long they are (sample_split.h, hold_out.h).
constexpr size_t kFewestCalibrated = 64;
constexpr double kMicroseconds = 1e6;

using Choice = std::vector<size_t>;  // a trial of each item

struct Verified {
  Choice choice;
  double limit = 0.0;  // that led to it
  Harm harm;
  bool holds = false;  // to the budget
  size_t point = 0;    // of the frontier
};

}  // namespace

class PlanSearch::Search {
 public:
  explicit Search(SearchJob job) : job_(std::move(job)) {}

  absl::StatusOr<SearchResult> Next() {
    if (items_.empty()) RETURN_IF_ERROR(Prepare());
    RETURN_IF_ERROR(Find());
    return Result();
  }

  // Goes on from where the refused plan came from, less what it was beyond.
  void Refuse(const bundle::QuantizationReport& measured) {
    nearest_ = best_;
    nearest_->harm.mean_cosine_loss = 1.0 - measured.mean_row_cosine;
    nearest_->harm.worst_cosine = measured.worst_row_cosine;
    nearest_->harm.relative_square = std::pow(RelativeError(measured.model), 2);
    nearest_->harm.rows = static_cast<size_t>(measured.model_rows);
    refused_.insert(best_->choice);
    if (allowance_->measure() == Measure::kBytes) {
      limit_ = best_->limit + Use(best_->choice) +
               static_cast<double>(other_bytes_) -
               static_cast<double>(measured.bundle_bytes);
    } else {
      limit_ = best_->limit / std::max(1.0, allowance_->Share(nearest_->harm));
    }
    best_.reset();
  }

 private:
  absl::Status Prepare() {
    const SampleSplit samples = SplitSamples(job_.calibration);
    if (!job_.graph.output || samples.verification.rows() == 0) {
      return absl::FailedPreconditionError(
          job_.graph.output
              ? "policy 'auto' measures the model's output: it needs a "
                "calibration that was given model inputs, not only activations"
              : "policy 'auto' measures the model's output, and this model has "
                "none; use policy 'fixed'");
    }
    RETURN_IF_ERROR(CheckConfidence(samples));
    ASSIGN_OR_RETURN(const auto float_model,
                     model::Model::Create(job_.graph, job_.checkpoint, {}));
    Tuning tuning{*float_model, EvaluationBatches(samples.tuning), {}};
    verification_ = EvaluationBatches(samples.verification);
    ASSIGN_OR_RETURN(tuning.outputs, Run(*float_model, tuning.batches));
    ASSIGN_OR_RETURN(expected_, Run(*float_model, verification_));
    const size_t rows = Compare(tuning.outputs, tuning.outputs).rows;
    tuned_rows_ = static_cast<int64_t>(rows == samples.tuning.rows()
                                           ? samples.known.rows()
                                           : samples.known.lengths.size());
    RETURN_IF_ERROR(PrepareStorage());
    for (SearchItem& item : items_) {
      RETURN_IF_ERROR(TryAll(job_, tuning, speed_, item));
    }
    options_ = Options(items_, allowance_->measure());
    limit_ = allowance_->limit();
    ASSIGN_OR_RETURN(float_point_, MeasuredFloatPoint(*float_model));
    return absl::OkStatus();
  }

  absl::Status CheckConfidence(const SampleSplit& samples) const {
    if (!job_.request.budget.min_mean_cosine ||
        samples.unknown >= kFewestVerified) {
      return absl::OkStatus();
    }
    return absl::FailedPreconditionError(absl::StrFormat(
        "budget.min_mean_cosine is promised for inputs that nobody has seen, "
        "which takes %d samples that no plan is fitted to; this calibration "
        "has %d of them. Calibrate on at least %d different samples, and keep "
        "as many (kept_samples, kept_rows), or set another budget",
        kFewestVerified, samples.unknown, kFewestCalibrated));
  }

  // How everything is stored that no choice changes.
  absl::Status PrepareStorage() {
    ASSIGN_OR_RETURN(const auto requests,
                     ResolveRequest(job_.graph, job_.request));
    QuantizationPlan floats;
    for (const auto& [layer, request] : requests) {
      wanted_[layer] =
          request.is_free ? job_.request.float_scheme : request.scheme;
      floats.layers[layer].scheme.scheme = wanted_[layer];
    }
    ASSIGN_OR_RETURN(
        const std::vector<StoredTensor> stored,
        PlanStorage(job_.graph, job_.checkpoint, job_.request.float_scheme,
                    job_.cancelled, job_.pool, floats));
    tensors_.emplace(job_.checkpoint);
    uint64_t checkpoint_bytes = 0;  // as FP32
    for (const StoredTensor& tensor : stored) {
      ASSIGN_OR_RETURN(const model::TensorView view,
                       job_.checkpoint.Find(tensor.name));
      const bool is_half = view.type == model::DataType::kF16 ||
                           view.type == model::DataType::kBF16;
      checkpoint_bytes += view.bytes.size() * (is_half ? 2 : 1);
      if (tensor.linear != nullptr) continue;
      for (const bundle::TensorInfo& part : tensor.parts) {
        other_bytes_ += ByteSize(part);
      }
      if (tensor.type != view.type) {
        RETURN_IF_ERROR(tensors_->Round(tensor.name, tensor.type));
      }
    }
    std::map<std::string, FloatStorage> storage;
    for (const model::Linear* linear : job_.graph.Linears()) {
      FloatStorage& own = storage[linear->layer];
      own.scheme = floats.layers[linear->layer].scheme.scheme;
      if (!linear->has_bias) continue;
      ASSIGN_OR_RETURN(const model::TensorView bias,
                       tensors_->Find(linear->layer + ".bias"));
      own.bias_bytes = bias.bytes.size();
    }
    ASSIGN_OR_RETURN(items_, MakeItems(job_, storage));
    // MakeItems has looked at the request: there is a budget.
    allowance_.emplace(job_.request.budget, checkpoint_bytes, other_bytes_);
    placed_.resize(items_.size());
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<model::ModelOutput>> Run(
      const model::Model& model, const std::vector<ModelInput>& batches) const {
    return RunBatches(model, batches, nullptr, job_.pool, job_.cancelled);
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
  absl::Status Verify(const Choice& choice, double limit) {
    model::Plan plan;
    for (size_t i = 0; i < items_.size(); ++i) {
      RETURN_IF_ERROR(Place(i, choice[i]));
      for (const TriedLayer& layer : items_[i].trials[choice[i]].layers) {
        plan[layer.linear->layer] = layer.plan.scheme;
      }
    }
    ASSIGN_OR_RETURN(const auto quantized,
                     model::Model::Create(job_.graph, *tensors_, plan));
    ASSIGN_OR_RETURN(const auto outputs, Run(*quantized, verification_));
    const Harm harm = Compare(expected_, outputs);
    const bool holds = allowance_->Holds(harm, Use(choice));
    verified_.emplace(choice,
                      Verified{choice, limit, harm, holds, frontier_.size()});
    frontier_.push_back(MeasuredPoint(items_, choice, harm));
    return absl::OkStatus();
  }

  absl::Status Place(size_t item, size_t trial) {
    if (placed_[item] == trial) return absl::OkStatus();
    const std::string& layer = items_[item].linears.front()->layer;
    if (job_.on_step) RETURN_IF_ERROR(job_.on_step(layer));
    ASSIGN_OR_RETURN(
        const TrialGroup group,
        TrialGroup::Load(items_[item].linears, job_.graph, job_.checkpoint,
                         job_.calibration, job_.pool, job_.cancelled));
    RETURN_IF_ERROR(
        group.Put(job_.request, items_[item].trials[trial], *tensors_));
    placed_[item] = trial;
    return absl::OkStatus();
  }

  absl::Status Find() {
    if (refused_.size() > kMostRefused) return CannotHold();
    if (allowance_->measure() == Measure::kBytes) return FindWithinBytes();
    // The limit is 0 once the plan that errs least has been refused.
    if (refused_.size() < kMostRefused && limit_ > 0.0) {
      RETURN_IF_ERROR(FindByLimits());
    }
    if (best_) return absl::OkStatus();
    const Choice safest = ChooseLeastUse(options_);
    if (!refused_.contains(safest)) {
      RETURN_IF_ERROR(Consider(safest, 0.0).status());
    }
    return best_ ? absl::OkStatus() : CannotHold();
  }

  absl::Status FindByLimits() {
    LimitSearch limits(limit_);
    std::set<Choice> seen;
    for (int i = 0; i < kMostVerifications; ++i) {
      const double limit = limits.next();
      const Choice choice =
          Choose(options_, limit).value_or(ChooseLeastUse(options_));
      if (refused_.contains(choice)) {
        limits.Add(1.0, /*holds=*/false);
        continue;
      }
      if (!seen.insert(choice).second) break;
      if (best_ && Cost(choice) > (1.0 - kFaster) * Cost(best_->choice)) break;
      ASSIGN_OR_RETURN(const Verified verified, Consider(choice, limit));
      const double share = allowance_->Share(verified.harm);
      // After a refusal a plan that uses much is no better for it.
      if (verified.holds && (share > kSlack || !refused_.empty())) break;
      limits.Add(share, verified.holds);
    }
    return absl::OkStatus();
  }

  absl::Status FindWithinBytes() {
    auto choice = Choose(options_, std::max(0.0, limit_));
    // Choose rounds uses up.
    if (!choice) choice = ChooseLeastUse(options_);
    if (const double least = Use(*choice); least > limit_) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "no plan keeps to the size limit: the smallest takes %.0f bytes, %d "
          "of them in tensors that are not linear weights; the limit is %.0f",
          least + static_cast<double>(other_bytes_), other_bytes_,
          limit_ + static_cast<double>(other_bytes_)));
    }
    if (!refused_.contains(*choice)) {
      RETURN_IF_ERROR(Consider(*choice, limit_).status());
    }
    return best_ ? absl::OkStatus() : CannotHold();
  }

  // Verifies what is not known yet, and keeps the fastest plan that holds and
  // the one that comes nearest.
  absl::StatusOr<Verified> Consider(const Choice& choice, double limit) {
    if (!verified_.contains(choice)) {
      RETURN_IF_ERROR(Verify(choice, limit));
    }
    const Verified& found = verified_.find(choice)->second;
    if (!nearest_ ||
        allowance_->Assumed(found.harm) < allowance_->Assumed(nearest_->harm)) {
      nearest_ = found;
    }
    if (found.holds && (!best_ || Cost(choice) < Cost(best_->choice))) {
      best_ = found;
    }
    return found;
  }

  absl::Status CannotHold() const {
    return NoPlanHolds(items_, nearest_->choice, nearest_->harm,
                       job_.request.float_scheme);
  }

  absl::StatusOr<SearchResult> Result() {
    SearchResult result;
    for (size_t i = 0; i < items_.size(); ++i) {
      const size_t chosen = best_->choice[i];
      const std::vector<std::string>& own = items_[i].trials[chosen].warnings;
      result.plan.warnings.insert(result.plan.warnings.end(), own.begin(),
                                  own.end());
      for (size_t l = 0; l < items_[i].linears.size(); ++l) {
        const std::string& layer = items_[i].linears[l]->layer;
        result.plan.layers[layer] = PlanOf(items_[i], chosen, l);
        result.candidates[layer] = DescribeCandidates(items_[i], l, chosen);
      }
    }
    WarnOfWholePlan(job_.graph, result.plan);
    result.frontier = frontier_;
    result.frontier[best_->point].chosen = true;
    AddPredictedPoints(items_, options_, allowance_->measure(),
                       result.frontier);
    result.frontier.push_back(float_point_);
    result.verified_plans = static_cast<int64_t>(verified_.size());
    result.tuned_rows = tuned_rows_;
    result.speed_kernel = speed_.int8_kernel();
    return result;
  }

  // Of the linear number `l`. A float one has the type that is wanted: whoever
  // stores it finds the one that fits, and warns where that is another.
  LayerPlan PlanOf(const SearchItem& item, size_t chosen, size_t l) const {
    LayerPlan plan = item.trials[chosen].layers[l].plan;
    if (!model::IsInt8(plan.scheme.scheme)) {
      plan.scheme.scheme = wanted_.find(item.linears[l]->layer)->second;
      plan.reason = item.requests[chosen].reason.empty()
                        ? "chosen by measurement, to keep to the budget"
                        : item.requests[chosen].reason;
    }
    return plan;
  }

  absl::StatusOr<bundle::FrontierPoint> MeasuredFloatPoint(
      const model::Model& float_model) {
    uint64_t bytes = 0;
    for (const model::Linear* linear : job_.graph.Linears()) {
      bytes += linear->out_features * linear->in_features * sizeof(float);
    }
    ASSIGN_OR_RETURN(
        const double seconds,
        speed_.SecondsOfLinears(float_model, {}, job_.calibration));
    bundle::FrontierPoint point = FloatPoint(bytes);
    point.microseconds = kMicroseconds * seconds;
    return point;
  }

  const SearchJob job_;
  std::vector<ModelInput> verification_;
  std::vector<model::ModelOutput> expected_;  // by the float model
  // Of each layer as float, whether or not its values fit; INT8 for one without
  // that choice.
  std::map<std::string, model::Scheme> wanted_;
  std::optional<TrialTensors> tensors_;
  std::vector<std::optional<size_t>> placed_;  // trial whose tensors are there
  std::vector<SearchItem> items_;
  std::vector<std::vector<Option>> options_;
  SpeedTable speed_;
  std::optional<Allowance> allowance_;
  uint64_t other_bytes_ = 0;  // of what is no linear's weight
  int64_t tuned_rows_ = 0;
  bundle::FrontierPoint float_point_;

  double limit_ = 0.0;  // to begin with
  std::map<Choice, Verified> verified_;
  std::vector<bundle::FrontierPoint> frontier_;
  std::set<Choice> refused_;
  std::optional<Verified> best_;
  std::optional<Verified> nearest_;
};

size_t SearchSteps(const model::Graph& graph, const PlanRequest& request) {
  const size_t candidates =
      Candidates(std::numeric_limits<size_t>::max(), nullptr, request,
                 request.float_scheme)
          .size() +
      1;  // LLM.int8, which needs outliers
  return graph.Linears().size() * (candidates + kMostVerifications + 1);
}

PlanSearch::PlanSearch(SearchJob job)
    : search_(std::make_unique<Search>(std::move(job))) {}

PlanSearch::~PlanSearch() = default;

absl::StatusOr<SearchResult> PlanSearch::Next() { return search_->Next(); }

void PlanSearch::Refuse(const bundle::QuantizationReport& measured) {
  search_->Refuse(measured);
}

}  // namespace octet::quantization
