// Quantizations as long-running operations: queued, run one at a time,
// watched, cancelled, remembered over a restart.
//
// Each operation is one small file, replaced atomically. One that was queued
// or running when the process died comes back as SUCCEEDED where its bundle is
// there, and else as FAILED with ABORTED; its staged output is discarded.

#ifndef OCTET_SERVER_QUANTIZATION_JOB_OPERATIONS_H_
#define OCTET_SERVER_QUANTIZATION_JOB_OPERATIONS_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/quantization/job/quantizer.h"

namespace octet::quantization {

enum class OperationState : uint8_t {
  kQueued,
  kRunning,
  kSucceeded,
  kFailed,
  kCancelled
};

struct Operation {
  std::string id;
  OperationState state = OperationState::kQueued;
  Progress progress;
  std::string checkpoint;  // id
  std::string bundle;      // id, of what it makes
  absl::Status error;
  absl::Time create_time;
  absl::Time end_time;  // InfinitePast while it runs

  bool done() const { return state >= OperationState::kSucceeded; }
};

// What an operation does. Gets progress and cancellation, and publishes its
// bundle itself before it returns OK.
using OperationBody = std::function<absl::Status(
    const std::function<void(const Progress&)>& on_progress,
    const std::function<bool()>& cancelled)>;

class Operations {
 public:
  // Called with every change of any operation, from the thread that made it.
  using Listener = std::function<void(const Operation&)>;

  // Whether a bundle of this id is published.
  using IsPublished = std::function<bool(const std::string& bundle)>;

  static absl::StatusOr<std::unique_ptr<Operations>> Open(
      std::filesystem::path directory, size_t max_waiting,
      const IsPublished& is_published);
  ~Operations();  // cancels what runs and waits for it

  // RESOURCE_EXHAUSTED when `max_waiting` are queued already.
  absl::StatusOr<Operation> Start(std::string checkpoint, std::string bundle,
                                  OperationBody body);
  absl::StatusOr<Operation> Get(std::string_view id) const;  // NOT_FOUND
  std::vector<Operation> List() const;                       // newest first

  // FAILED_PRECONDITION when it is done.
  absl::StatusOr<Operation> Cancel(std::string_view id);

  // Returns a token for Unsubscribe. The listener must not block.
  int64_t Subscribe(Listener listener);
  void Unsubscribe(int64_t token);

 private:
  class Impl;
  explicit Operations(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_JOB_OPERATIONS_H_
