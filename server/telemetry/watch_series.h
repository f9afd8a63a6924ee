// The series of what serving/watcher.h finds, by model, and what that costs:
//
//   octet_shadow_requests_total{model,result=compared|dropped}
//   octet_shadow_sqnr_decibels{model}          histogram
//   octet_shadow_cosine{model}                 histogram
//   octet_input_range_ratio{model,layer_kind}  histogram
//   octet_static_codes_total{model,layer_kind}
//   octet_static_codes_saturated_total{model,layer_kind}
//   octet_watch_cpu_seconds_total{work=drift|shadow|capture}
//   octet_capture_samples_total{model,result=taken|dropped}

#ifndef OCTET_SERVER_TELEMETRY_WATCH_SERIES_H_
#define OCTET_SERVER_TELEMETRY_WATCH_SERIES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "prometheus/counter.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "server/telemetry/metrics.h"

namespace octet::telemetry {

class WatchSeries {
 public:
  explicit WatchSeries(prometheus::Registry& registry);

  // Makes the series of a model that are not there yet. Calls about a model
  // or a kind without series do nothing.
  void Add(std::string_view model, const WatchDescription& description);
  void Remove(std::string_view model);

  void Compared(std::string_view model, double sqnr_db, double cosine);
  void Dropped(std::string_view model);
  void Drift(std::string_view model, std::string_view layer_kind,
             const std::vector<float>& range_ratios, uint64_t codes,
             uint64_t saturated);

  void Capture(std::string_view model);  // makes its series
  void Captured(std::string_view model, size_t taken, size_t dropped);

  void Cpu(std::string_view work, double seconds);

 private:
  struct Shadow {
    prometheus::Counter* compared;
    prometheus::Counter* dropped;
    prometheus::Histogram* sqnr;
    prometheus::Histogram* cosine;
  };
  struct Capturing {
    prometheus::Counter* taken;
    prometheus::Counter* dropped;
  };
  struct Kind {
    prometheus::Histogram* range_ratio;
    prometheus::Counter* codes;
    prometheus::Counter* saturated;
  };

  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Histogram>& sqnr_;
  prometheus::Family<prometheus::Histogram>& cosine_;
  prometheus::Family<prometheus::Histogram>& range_ratio_;
  prometheus::Family<prometheus::Counter>& codes_;
  prometheus::Family<prometheus::Counter>& saturated_;
  prometheus::Family<prometheus::Counter>& cpu_;
  prometheus::Family<prometheus::Counter>& captured_;
  std::mutex mutex_;  // guards what follows; all of this is seldom
  std::map<std::string, Shadow, std::less<>> shadows_;
  std::map<std::string, Capturing, std::less<>> captures_;
  std::map<std::string, std::map<std::string, Kind, std::less<>>, std::less<>>
      kinds_;
};

}  // namespace octet::telemetry

#endif  // OCTET_SERVER_TELEMETRY_WATCH_SERIES_H_
