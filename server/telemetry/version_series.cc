#include "server/telemetry/version_series.h"

#include <mutex>

namespace octet::telemetry {

VersionSeries::VersionSeries(prometheus::Registry& registry)
    : info_(prometheus::BuildGauge()
                .Name("octet_model_version_info")
                .Help("Versions that are served; 1.")
                .Register(registry)),
      share_(prometheus::BuildGauge()
                 .Name("octet_model_traffic_share")
                 .Help("Share of requests that name no version.")
                 .Register(registry)),
      rows_(prometheus::BuildCounter()
                .Name("octet_version_rows_total")
                .Help("Rows (tokens) that a version computed.")
                .Register(registry)),
      seconds_(prometheus::BuildCounter()
                   .Name("octet_version_compute_seconds_total")
                   .Help("Time of the computations of a version.")
                   .Register(registry)) {}

VersionSeries::Version VersionSeries::Make(
    const VersionDescription& description) {
  const prometheus::Labels labels = {
      {"model", description.model},
      {"version", std::to_string(description.version)}};
  prometheus::Labels with_source = labels;
  with_source.emplace("source", description.source);
  Version made{description.source, &info_.Add(with_source), &share_.Add(labels),
               &rows_.Add(labels), &seconds_.Add(labels)};
  made.info->Set(1);
  return made;
}

void VersionSeries::Remove(const Version& version) {
  info_.Remove(version.info);
  share_.Remove(version.share);
  rows_.Remove(version.rows);
  seconds_.Remove(version.seconds);
}

void VersionSeries::Set(const std::vector<VersionDescription>& versions) {
  const std::unique_lock lock(mutex_);
  auto before = std::exchange(models_, {});
  // What leaves goes first: a number can come back with another source.
  std::vector<const VersionDescription*> is_new;
  for (const VersionDescription& description : versions) {
    Versions& old = before[description.model];
    const auto found = old.find(description.version);
    if (found != old.end() && found->second.source == description.source) {
      models_[description.model].insert(old.extract(found));
    } else {
      is_new.push_back(&description);
    }
  }
  for (const auto& [model, left] : before) {
    for (const auto& [number, version] : left) Remove(version);
  }
  for (const VersionDescription* description : is_new) {
    models_[description->model].emplace(description->version,
                                        Make(*description));
  }
  for (const VersionDescription& description : versions) {
    models_[description.model]
        .at(description.version)
        .share->Set(description.traffic_share);
  }
}

void VersionSeries::Computed(std::string_view model, int64_t version,
                             size_t rows, double seconds) {
  const std::shared_lock lock(mutex_);
  const auto found = models_.find(model);
  if (found == models_.end()) return;
  const auto series = found->second.find(version);
  if (series == found->second.end()) return;
  series->second.rows->Increment(static_cast<double>(rows));
  series->second.seconds->Increment(seconds);
}

}  // namespace octet::telemetry
