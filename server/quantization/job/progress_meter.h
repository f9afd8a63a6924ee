// Tells a job's caller how far it is, and asks whether to go on.

#ifndef OCTET_SERVER_QUANTIZATION_JOB_PROGRESS_METER_H_
#define OCTET_SERVER_QUANTIZATION_JOB_PROGRESS_METER_H_

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>

#include "absl/status/status.h"

namespace octet::quantization {

struct Progress {
  std::string stage;  // "plan", "quantize", "measure", "write"
  std::string layer;  // being worked on, or empty
  int done = 0;       // steps
  int total = 0;
};

class ProgressMeter {
 public:
  // Both functions outlive the meter and may be empty.
  ProgressMeter(const std::function<void(const Progress&)>& on_progress,
                const std::function<bool()>& cancelled, size_t total)
      : on_progress_(on_progress),
        cancelled_(cancelled),
        total_(static_cast<int>(total)) {}

  // Begins a step; CANCELLED when it is not wanted any more.
  absl::Status Step(const std::string& stage, const std::string& layer) {
    if (cancelled_ && cancelled_()) {
      return absl::CancelledError("the quantization was cancelled");
    }
    if (on_progress_) on_progress_({stage, layer, done_, total_});
    done_ = std::min(done_ + 1, total_);
    return absl::OkStatus();
  }

  // Steps that turn out to be needed too.
  void Add(size_t steps) { total_ += static_cast<int>(steps); }

  // Steps that turn out not to be needed.
  void Skip(size_t steps) { total_ -= static_cast<int>(steps); }

 private:
  const std::function<void(const Progress&)>& on_progress_;
  const std::function<bool()>& cancelled_;
  int total_;
  int done_ = 0;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_JOB_PROGRESS_METER_H_
