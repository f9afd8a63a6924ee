#include "server/telemetry/watch_series.h"

#include <algorithm>

namespace octet::telemetry {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;

// Exact agreement is infinite, and so is, below, an answer where the reference
// has zeros alone: no sum survives either.
constexpr double kHighestSqnr = 100;
constexpr double kLowestSqnr = -100;

// Whole models in INT8 have 20 to 40 dB.
const Buckets& SqnrBuckets() {
  static const Buckets buckets = {0,  5,  10, 15, 20, 25, 30,
                                  35, 40, 45, 50, 60, 80};
  return buckets;
}

// Fine near 1, where good models are.
const Buckets& CosineBuckets() {
  static const Buckets buckets = {0.5,   0.8,   0.9,   0.95,   0.98,  0.99,
                                  0.995, 0.998, 0.999, 0.9995, 0.9999};
  return buckets;
}

// Around 1: the range that calibration saw.
const Buckets& RatioBuckets() {
  static const Buckets buckets = {0.1, 0.25, 0.5, 0.75, 0.9, 1,
                                  1.1, 1.25, 1.5, 2,    4,   10};
  return buckets;
}

}  // namespace

WatchSeries::WatchSeries(prometheus::Registry& registry)
    : requests_(prometheus::BuildCounter()
                    .Name("octet_shadow_requests_total")
                    .Help("Requests drawn to be computed in float again.")
                    .Register(registry)),
      sqnr_(prometheus::BuildHistogram()
                .Name("octet_shadow_sqnr_decibels")
                .Help("Answers against those of the float reference.")
                .Register(registry)),
      cosine_(prometheus::BuildHistogram()
                  .Name("octet_shadow_cosine")
                  .Help("Answers against those of the float reference.")
                  .Register(registry)),
      range_ratio_(prometheus::BuildHistogram()
                       .Name("octet_input_range_ratio")
                       .Help("Largest live input of an INT8 layer over the "
                             "largest that calibration saw.")
                       .Register(registry)),
      codes_(prometheus::BuildCounter()
                 .Name("octet_static_codes_total")
                 .Help("Input codes of static layers that were looked at.")
                 .Register(registry)),
      saturated_(prometheus::BuildCounter()
                     .Name("octet_static_codes_saturated_total")
                     .Help("Of those, codes of inputs beyond the range.")
                     .Register(registry)),
      cpu_(prometheus::BuildCounter()
               .Name("octet_watch_cpu_seconds_total")
               .Help("CPU time of looks at live requests.")
               .Register(registry)),
      captured_(prometheus::BuildCounter()
                    .Name("octet_capture_samples_total")
                    .Help("Samples drawn for a calibration.")
                    .Register(registry)) {
  for (const char* work : {"drift", "shadow", "capture"})
    cpu_.Add({{"work", work}});
}

void WatchSeries::Add(std::string_view model,
                      const WatchDescription& description) {
  const std::string name(model);
  const std::scoped_lock lock(mutex_);
  if (description.shadow && !shadows_.contains(model)) {
    shadows_[name] = {&requests_.Add({{"model", name}, {"result", "compared"}}),
                      &requests_.Add({{"model", name}, {"result", "dropped"}}),
                      &sqnr_.Add({{"model", name}}, SqnrBuckets()),
                      &cosine_.Add({{"model", name}}, CosineBuckets())};
  }
  for (const std::string& kind : description.layer_kinds) {
    auto& kinds = kinds_[name];
    if (kinds.contains(kind)) continue;
    const prometheus::Labels labels = {{"model", name}, {"layer_kind", kind}};
    kinds[kind] = {&range_ratio_.Add(labels, RatioBuckets()),
                   &codes_.Add(labels), &saturated_.Add(labels)};
  }
}

void WatchSeries::Remove(std::string_view model) {
  const std::scoped_lock lock(mutex_);
  if (const auto found = shadows_.find(model); found != shadows_.end()) {
    requests_.Remove(found->second.compared);
    requests_.Remove(found->second.dropped);
    sqnr_.Remove(found->second.sqnr);
    cosine_.Remove(found->second.cosine);
    shadows_.erase(found);
  }
  if (const auto found = captures_.find(model); found != captures_.end()) {
    captured_.Remove(found->second.taken);
    captured_.Remove(found->second.dropped);
    captures_.erase(found);
  }
  if (const auto found = kinds_.find(model); found != kinds_.end()) {
    for (const auto& [kind, series] : found->second) {
      range_ratio_.Remove(series.range_ratio);
      codes_.Remove(series.codes);
      saturated_.Remove(series.saturated);
    }
    kinds_.erase(found);
  }
}

void WatchSeries::Compared(std::string_view model, double sqnr_db,
                           double cosine) {
  const std::scoped_lock lock(mutex_);
  const auto found = shadows_.find(model);
  if (found == shadows_.end()) return;
  found->second.compared->Increment();
  found->second.sqnr->Observe(std::clamp(sqnr_db, kLowestSqnr, kHighestSqnr));
  found->second.cosine->Observe(cosine);
}

void WatchSeries::Dropped(std::string_view model) {
  const std::scoped_lock lock(mutex_);
  const auto found = shadows_.find(model);
  if (found != shadows_.end()) found->second.dropped->Increment();
}

void WatchSeries::Drift(std::string_view model, std::string_view layer_kind,
                        const std::vector<float>& range_ratios, uint64_t codes,
                        uint64_t saturated) {
  const std::scoped_lock lock(mutex_);
  const auto found = kinds_.find(model);
  if (found == kinds_.end()) return;
  const auto kind = found->second.find(layer_kind);
  if (kind == found->second.end()) return;
  for (const float ratio : range_ratios)
    kind->second.range_ratio->Observe(ratio);
  kind->second.codes->Increment(static_cast<double>(codes));
  kind->second.saturated->Increment(static_cast<double>(saturated));
}

void WatchSeries::Capture(std::string_view model) {
  const std::string name(model);
  const std::scoped_lock lock(mutex_);
  if (captures_.contains(model)) return;
  captures_[name] = {&captured_.Add({{"model", name}, {"result", "taken"}}),
                     &captured_.Add({{"model", name}, {"result", "dropped"}})};
}

void WatchSeries::Captured(std::string_view model, size_t taken,
                           size_t dropped) {
  const std::scoped_lock lock(mutex_);
  const auto found = captures_.find(model);
  if (found == captures_.end()) return;
  found->second.taken->Increment(static_cast<double>(taken));
  found->second.dropped->Increment(static_cast<double>(dropped));
}

void WatchSeries::Cpu(std::string_view work, double seconds) {
  cpu_.Add({{"work", std::string(work)}}).Increment(seconds);
}

}  // namespace octet::telemetry
