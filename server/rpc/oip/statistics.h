// What ModelStatistics tells: counts and nanoseconds of the requests that came
// by this protocol, by model (or layer) and version, since it was loaded.

#ifndef OCTET_SERVER_RPC_OIP_STATISTICS_H_
#define OCTET_SERVER_RPC_OIP_STATISTICS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "inference/grpc_service.pb.h"
#include "server/rpc/oip/model.h"

namespace octet::rpc::oip {

// One request; durations are those of the parts that it came to.
struct InferTimes {
  absl::Time arrival;
  absl::Duration queue;
  absl::Duration compute_input;
  absl::Duration compute_infer;
  absl::Duration compute_output;
  absl::Duration total;  // from arrival to answer
};

class Statistics {
 public:
  void Succeeded(const Served& served, size_t batch, const InferTimes& times);
  void Failed(const Served& served, absl::Duration total);

  // Of each of `served`, and of their layers where those were asked for.
  void Fill(const std::vector<Served>& served,
            inference::ModelStatisticsResponse* response) const;

 private:
  struct Sum {
    uint64_t count = 0;
    absl::Duration time;

    void Add(absl::Duration duration);
    void Fill(inference::StatisticDuration* out) const;
  };
  struct Parts {
    Sum input, infer, output;

    void Add(const InferTimes& times);
  };
  struct Entry {
    std::weak_ptr<const serving::LoadedModel> model;
    absl::Time last = absl::UnixEpoch();
    uint64_t items = 0;
    Sum success, fail, queue;
    Parts parts;
    std::map<size_t, Parts> by_batch;  // the first 64 sizes that came
  };
  // A loaded version of a model and a layer, or "".
  using Key = std::pair<const serving::LoadedModel*, std::string>;

  Entry& Find(const Served& served) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void Fill(const Served& served, const Entry& entry,
                   inference::ModelStatistics* out);

  mutable absl::Mutex mutex_;
  std::map<Key, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace octet::rpc::oip

#endif  // OCTET_SERVER_RPC_OIP_STATISTICS_H_
