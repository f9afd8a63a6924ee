#include "server/quantization/search/search_items.h"

#include <memory>
#include <utility>

#include "kernels/status_macros.h"
#include "server/model/linear_layer.h"
#include "server/quantization/search/candidates.h"
#include "server/quantization/search/trial_tensors.h"
#include "server/quantization/storage/storage.h"

namespace octet::quantization {
namespace {

// How much the times of one layer differ from run to run (speed.h).
constexpr double kSameSpeed = 0.03;

// A way that these weights or inputs do not allow; another may do.
bool CannotBeBuilt(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status);
}

// Nobody asked for the ways that a search thinks of: those that cannot be
// built are left out. The float one stays, or says why not even it can be.
absl::Status TryRequests(const SearchJob& job, const TrialGroup& group,
                         SpeedTable& speed, SearchItem& item) {
  const bool has_choice = item.requests.size() > 1;
  std::vector<LayerRequest> built;
  for (LayerRequest& request : item.requests) {
    if (job.on_step) {
      RETURN_IF_ERROR(job.on_step(item.linears.front()->layer));
    }
    absl::StatusOr<Trial> trial = group.Try(request, job.request, speed);
    if (has_choice && model::IsInt8(request.scheme) &&
        CannotBeBuilt(trial.status())) {
      continue;
    }
    RETURN_IF_ERROR(trial.status());
    item.trials.push_back(*std::move(trial));
    built.push_back(std::move(request));
  }
  item.requests = std::move(built);
  return absl::OkStatus();
}

}  // namespace

double SearchItem::AddedBytes(const Trial& trial) const {
  uint64_t replaced = 0;
  for (size_t l = 0; l < trial.layers.size(); ++l) {
    const TriedLayer& layer = trial.layers[l];
    if (CorrectsBias(*layer.linear, layer.plan)) replaced += bias_bytes[l];
  }
  return static_cast<double>(trial.stored_bytes()) -
         static_cast<double>(replaced);
}

absl::StatusOr<std::vector<SearchItem>> MakeItems(
    const SearchJob& job, const std::map<std::string, FloatStorage>& floats) {
  ASSIGN_OR_RETURN(const auto requests, ResolveRequest(job.graph, job.request));
  std::vector<SearchItem> items;
  for (const InputGroup& group : GroupByInput(job.graph)) {
    for (AlikeLinears& part : SplitByRequest(group, requests)) {
      SearchItem item{.linears = std::move(part.linears),
                      .requests = {std::move(part.request)},
                      .trials = {},
                      .bias_bytes = {}};
      const std::string& layer = item.linears.front()->layer;
      const model::Scheme float_scheme = floats.find(layer)->second.scheme;
      for (const model::Linear* linear : item.linears) {
        item.bias_bytes.push_back(
            floats.find(linear->layer)->second.bias_bytes);
      }
      LayerRequest& only = item.requests.front();
      if (only.is_free) {
        item.requests =
            Candidates(item.linears.front()->in_features,
                       job.calibration.Find(layer), job.request, float_scheme);
      } else if (!model::IsInt8(only.scheme)) {
        only.scheme = float_scheme;
      }
      items.push_back(std::move(item));
    }
  }
  return items;
}

absl::Status TryAll(const SearchJob& job, const Tuning& tuning,
                    SpeedTable& speed, SearchItem& item) {
  ASSIGN_OR_RETURN(const TrialGroup group,
                   TrialGroup::Load(item.linears, job.graph, job.checkpoint,
                                    job.calibration, job.pool, job.cancelled));
  RETURN_IF_ERROR(TryRequests(job, group, speed, item));
  // Any noise will do to see what becomes of it; this is the quickest to make.
  const LayerRequest plain{
      .scheme = model::Scheme::kW8A8Dynamic, .methods = {}, .reason = {}};
  ASSIGN_OR_RETURN(Trial noisy, group.Try(plain, job.request, speed));
  if (noisy.noise() == 0.0) return absl::OkStatus();
  TrialTensors tensors(job.checkpoint);
  RETURN_IF_ERROR(group.Put(job.request, noisy, tensors));
  std::vector<std::unique_ptr<model::LinearLayer>> layers;
  model::LinearSubstitutes substitutes;
  for (const TriedLayer& tried : noisy.layers) {
    ASSIGN_OR_RETURN(
        auto layer,
        model::MakeLinearLayer(*tried.linear, tried.plan.scheme, tensors));
    substitutes.emplace(tried.linear->layer, layer.get());
    layers.push_back(std::move(layer));
  }
  ASSIGN_OR_RETURN(const auto outputs,
                   RunBatches(tuning.float_model, tuning.batches, &substitutes,
                              job.pool, job.cancelled));
  const Harm harm = Compare(tuning.outputs, outputs);
  item.cosine_gain = harm.mean_cosine_loss / noisy.noise();
  item.square_gain = harm.relative_square / noisy.noise();
  return absl::OkStatus();
}

std::vector<std::vector<Option>> Options(const std::vector<SearchItem>& items,
                                         Measure measure) {
  std::vector<std::vector<Option>> all;
  for (const SearchItem& item : items) {
    std::vector<Option>& options = all.emplace_back();
    for (const Trial& trial : item.trials) {
      switch (measure) {
        case Measure::kMeanCosine:
          options.push_back({trial.seconds(), item.CosineLoss(trial)});
          break;
        case Measure::kRelativeError:
          options.push_back({trial.seconds(), item.RelativeSquare(trial)});
          break;
        case Measure::kBytes:
          options.push_back(
              {item.RelativeSquare(trial), item.AddedBytes(trial)});
          break;
      }
    }
    if (measure != Measure::kBytes) LevelCosts(kSameSpeed, options);
  }
  return all;
}

}  // namespace octet::quantization
