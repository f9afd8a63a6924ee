#include "server/rpc/calibration_messages.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/status_macros.h"
#include "server/quantization/methods/calibrators.h"
#include "server/rpc/messages.h"
#include "server/rpc/resources/checkpoint_graph.h"
#include "server/rpc/resources/resource_names.h"

namespace octet::rpc {
namespace {

using quantization::CalibratedInput;
using quantization::Calibration;
using quantization::LayerStatistics;

constexpr float kOutlierMagnitude = 6.0F;  // LLM.int8's, as the API says
constexpr size_t kShownColumns = 64;
constexpr size_t kShownBins = 128;

void FillOutliers(const LayerStatistics& statistics,
                  v1::LayerActivations* out) {
  std::vector<int32_t> columns =
      quantization::OutlierColumns(statistics, kOutlierMagnitude);
  out->set_outlier_count(static_cast<int64_t>(columns.size()));
  const auto& absmax = statistics.column_absmax;
  std::sort(columns.begin(), columns.end(), [&](int32_t a, int32_t b) {
    return absmax[a] != absmax[b] ? absmax[a] > absmax[b] : a < b;
  });
  columns.resize(std::min(columns.size(), kShownColumns));
  for (const int32_t column : columns) {
    v1::OutlierFeature* feature = out->add_outliers();
    feature->set_column(column);
    feature->set_absmax(absmax[column]);
  }
}

void FillInactive(const LayerStatistics& statistics,
                  v1::LayerActivations* out) {
  const std::vector<int32_t> columns =
      quantization::InactiveColumns(statistics);
  out->set_inactive_channel_count(static_cast<int64_t>(columns.size()));
  const size_t shown = std::min(columns.size(), kShownColumns);
  out->mutable_inactive_channels()->Assign(columns.begin(),
                                           columns.begin() + shown);
}

void FillHistogram(const LayerStatistics& statistics,
                   v1::LayerActivations* out) {
  const quantization::Histogram histogram =
      statistics.histogram.Coarsened(kShownBins);
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    v1::HistogramBin* item = out->add_histogram();
    item->set_lower_bound(histogram.LowerBound(i));
    item->set_upper_bound(histogram.LowerBound(i + 1));
    item->set_count(static_cast<int64_t>(histogram.counts()[i]));
  }
}

v1::Calibrator ToProto(quantization::Calibrator calibrator) {
  switch (calibrator) {
    case quantization::Calibrator::kMinMax:
      return v1::CALIBRATOR_MIN_MAX;
    case quantization::Calibrator::kMovingAverage:
      return v1::CALIBRATOR_MOVING_AVERAGE;
    case quantization::Calibrator::kPercentile:
      return v1::CALIBRATOR_PERCENTILE;
    case quantization::Calibrator::kEntropy:
      return v1::CALIBRATOR_ENTROPY;
    case quantization::Calibrator::kMse:
      return v1::CALIBRATOR_MSE;
  }
  return v1::CALIBRATOR_UNSPECIFIED;
}

void FillChoices(const LayerStatistics& statistics, v1::LayerActivations* out) {
  for (const auto& choice : quantization::ChooseAll(statistics)) {
    v1::CalibratorChoice* item = out->add_choices();
    item->set_calibrator(ToProto(choice.calibrator));
    item->set_min(choice.range.min);
    item->set_max(choice.range.max);
    item->set_clipped_share(choice.quality.clipped_share);
    item->set_sqnr_db(choice.quality.sqnr_db);
  }
}

void FillChannels(const LayerStatistics& statistics,
                  v1::LayerActivations* out) {
  out->mutable_channel_min()->Assign(statistics.column_min.begin(),
                                     statistics.column_min.end());
  out->mutable_channel_max()->Assign(statistics.column_max.begin(),
                                     statistics.column_max.end());
}

// All that layers which read this input share.
void Fill(const CalibratedInput& input, bool channels,
          v1::LayerActivations* out) {
  const LayerStatistics& statistics = input.statistics;
  out->set_input(input.layers[0]);
  out->set_row_count(static_cast<int64_t>(statistics.rows));
  out->set_min(statistics.min);
  out->set_max(statistics.max);
  out->set_mean(statistics.mean());
  out->set_sigma(statistics.sigma());
  out->set_kept_row_count(static_cast<int64_t>(input.rows.keys().size()));
  FillOutliers(statistics, out);
  FillInactive(statistics, out);
  FillHistogram(statistics, out);
  FillChoices(statistics, out);
  if (channels) FillChannels(statistics, out);
}

void Fill(const quantization::CalibrationOptions& options,
          v1::CalibrationOptions* out) {
  out->set_kept_rows(static_cast<int64_t>(options.rows));
  out->set_kept_samples(static_cast<int64_t>(options.samples));
  out->set_seed(options.seed);
}

// In execution order; by name once the checkpoint is gone.
std::vector<std::string> LayersInOrder(
    const bundle::DirectoryStore& checkpoints, const Calibration& calibration) {
  std::vector<std::string> layers;
  const auto checkpoint = ImportGraph(checkpoints, calibration.checkpoint);
  if (!checkpoint.ok()) {
    for (const auto& [layer, statistics] : calibration.ByLayer()) {
      layers.push_back(layer);
    }
    return layers;
  }
  for (const model::Linear* linear : checkpoint->graph.Linears()) {
    layers.push_back(linear->layer);
  }
  return layers;
}

}  // namespace

absl::Status FillSummary(const CalibrationStore& store, std::string_view id,
                         const Calibration& calibration, v1::Calibration* out) {
  ASSIGN_OR_RETURN(const absl::Time created, store.CreateTime(id));
  out->set_name(ResourceName(kCalibrations, id));
  out->set_checkpoint(ResourceName(kCheckpoints, calibration.checkpoint));
  out->set_batch_count(static_cast<int64_t>(calibration.batches));
  out->set_sample_count(static_cast<int64_t>(calibration.samples));
  out->set_duplicate_sample_count(
      static_cast<int64_t>(calibration.DuplicateSamples()));
  out->set_near_duplicate_sample_count(
      static_cast<int64_t>(calibration.NearDuplicateSamples()));
  Fill(calibration.options, out->mutable_options());
  for (std::string& warning : calibration.Warnings()) {
    out->add_warnings(std::move(warning));
  }
  *out->mutable_create_time() = ToTimestamp(created);
  return absl::OkStatus();
}

void FillCapture(const Captures& captures, std::string_view id,
                 v1::Calibration* out) {
  const std::optional<CaptureStatus> status = captures.Find(id);
  if (!status) return;
  v1::Capture* capture = out->mutable_capture();
  capture->set_state(status->running ? v1::Capture::STATE_RUNNING
                                     : v1::Capture::STATE_DONE);
  capture->set_state_reason(status->reason);
  capture->set_model(ResourceName(kModels, status->request.model));
  capture->set_rate(status->request.rate);
  capture->set_max_samples(static_cast<int64_t>(status->request.max_samples));
  capture->set_taken_samples(static_cast<int64_t>(status->taken));
  capture->set_dropped_samples(static_cast<int64_t>(status->dropped));
  *capture->mutable_start_time() = ToTimestamp(status->start);
  *capture->mutable_end_time() = ToTimestamp(status->end);
}

void FillLayers(const bundle::DirectoryStore& checkpoints,
                const Calibration& calibration, bool channels,
                v1::Calibration* out) {
  // Layers that share an input share the work.
  std::map<const CalibratedInput*, const v1::LayerActivations*> filled;
  const auto layers = LayersInOrder(checkpoints, calibration);
  for (const std::string& layer : layers) {
    const CalibratedInput* input = calibration.Find(layer);
    if (input == nullptr) continue;
    v1::LayerActivations* item = out->add_layers();
    const auto [found, is_new] = filled.try_emplace(input, item);
    if (is_new) {
      Fill(*input, channels, item);
    } else {
      *item = *found->second;
    }
    item->set_layer(layer);
  }
}

}  // namespace octet::rpc
