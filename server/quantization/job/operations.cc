#include "server/quantization/job/operations.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <map>
#include <new>
#include <optional>
#include <random>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "server/bundle/io.h"
#include "server/model/str_cat.h"
#include "server/quantization/job/operation_file.h"

namespace octet::quantization {

namespace fs = std::filesystem;

namespace {

// Done operations beyond this many are forgotten, oldest first.
constexpr size_t kRemembered = 1000;

// Sorts by time, and is unlikely to have been used before: "20260131-...".
std::string NewId(absl::Time now) {
  static std::random_device device;
  return absl::StrFormat(
      "%s-%06x", absl::FormatTime("%Y%m%d-%H%M%S", now, absl::UTCTimeZone()),
      device() & 0xFFFFFF);
}

absl::Status RunBody(const OperationBody& body,
                     const std::function<void(const Progress&)>& on_progress,
                     const std::function<bool()>& cancelled) {
  try {
    return body(on_progress, cancelled);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("the server has not enough memory");
  } catch (const std::exception& error) {
    return absl::InternalError(model::StrCat("unexpected: ", error.what()));
  }
}

}  // namespace

// Locks are taken in the order listeners_mutex_, mutex_: a listener may call
// Get. A change is made and told under listeners_mutex_, so that listeners see
// an operation's changes in order, and none after Unsubscribe returned.
class Operations::Impl {
 public:
  Impl(fs::path directory, size_t max_waiting)
      : directory_(std::move(directory)), max_waiting_(max_waiting) {}

  ~Impl() {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    if (runner_.joinable()) runner_.join();
    AbortQueued();
  }

  absl::Status Open(const IsPublished& is_published) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names,
                     bundle::ListFiles(directory_));
    for (const std::string& name : names) {
      const fs::path file = directory_ / name;
      absl::StatusOr<Operation> operation = LoadOperation(file);
      if (file.extension() != ".json" || !operation.ok()) {
        // A leftover of an interrupted write, or damaged: history, not data.
        std::error_code ignored;
        fs::remove(file, ignored);
        continue;
      }
      if (!operation->done()) EndInterrupted(is_published, *operation);
      Remember(*std::move(operation));
    }
    runner_ = std::thread([this] { RunAll(); });
    return absl::OkStatus();
  }

  absl::StatusOr<Operation> Start(std::string checkpoint, std::string bundle,
                                  OperationBody body) {
    absl::MutexLock telling(&listeners_mutex_);
    ASSIGN_OR_RETURN(
        const Operation operation,
        Admit(std::move(checkpoint), std::move(bundle), std::move(body)));
    Tell(operation);
    return operation;
  }

  absl::StatusOr<Operation> Get(std::string_view id) const {
    absl::MutexLock lock(&mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end()) return Unknown(id);
    return found->second.operation;
  }

  std::vector<Operation> List() const {
    std::vector<Operation> operations;
    {
      absl::MutexLock lock(&mutex_);
      for (const auto& [id, entry] : entries_) {
        operations.push_back(entry.operation);
      }
    }
    std::sort(operations.begin(), operations.end(),
              [](const Operation& a, const Operation& b) {
                return a.create_time > b.create_time;
              });
    return operations;
  }

  absl::StatusOr<Operation> Cancel(std::string_view id) {
    absl::MutexLock telling(&listeners_mutex_);
    absl::StatusOr<Operation> operation = RequestCancel(id);
    if (operation.ok() && operation->done()) Tell(*operation);
    return operation;
  }

  int64_t Subscribe(Listener listener) {
    absl::MutexLock telling(&listeners_mutex_);
    listeners_.emplace(++last_token_, std::move(listener));
    return last_token_;
  }

  void Unsubscribe(int64_t token) {
    absl::MutexLock telling(&listeners_mutex_);
    listeners_.erase(token);
  }

 private:
  struct Entry {
    Operation operation;
    OperationBody body;  // empty once it ran
    bool cancel_requested = false;
  };

  static absl::Status Unknown(std::string_view id) {
    return absl::NotFoundError(
        model::StrCat("operation ", bundle::Quoted(id), " does not exist"));
  }

  fs::path FileOf(const Operation& operation) const {
    return directory_ / (operation.id + ".json");
  }

  // Of one that the process died with. Where that cannot be saved, the next
  // start finds it out again: a full disk keeps no server from starting.
  void EndInterrupted(const IsPublished& is_published, Operation& operation) {
    if (is_published(operation.bundle)) {  // died before it could say so
      operation.state = OperationState::kSucceeded;
    } else {
      operation.state = OperationState::kFailed;
      operation.error = absl::AbortedError(
          "the server stopped before the operation was done");
    }
    operation.end_time = absl::Now();
    SaveOperation(operation, FileOf(operation)).IgnoreError();
  }

  void Remember(Operation operation) {
    absl::MutexLock lock(&mutex_);
    const std::string id = operation.id;
    entries_[id].operation = std::move(operation);
  }

  absl::StatusOr<Operation> Admit(std::string checkpoint, std::string bundle,
                                  OperationBody body) {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return absl::UnavailableError("the server is stopping");
    if (queue_.size() >= max_waiting_) {
      return absl::ResourceExhaustedError(
          model::StrCat("too many operations are waiting: ", queue_.size()));
    }
    Operation operation;
    operation.create_time = absl::Now();
    operation.end_time = absl::InfinitePast();
    do {
      operation.id = NewId(operation.create_time);
    } while (entries_.contains(operation.id));
    operation.checkpoint = std::move(checkpoint);
    operation.bundle = std::move(bundle);
    RETURN_IF_ERROR(SaveOperation(operation, FileOf(operation)));
    entries_[operation.id] = {operation, std::move(body)};
    queue_.push_back(operation.id);
    ForgetOldest();
    return operation;
  }

  // Ids sort by time.
  void ForgetOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (auto it = entries_.begin();
         it != entries_.end() && entries_.size() > kRemembered;) {
      if (!it->second.operation.done()) {
        ++it;
        continue;
      }
      std::error_code ignored;
      fs::remove(FileOf(it->second.operation), ignored);
      it = entries_.erase(it);
    }
  }

  absl::StatusOr<Operation> RequestCancel(std::string_view id) {
    OperationBody dropped;  // destroyed without the lock: it may hold a lease
    absl::MutexLock lock(&mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end()) return Unknown(id);
    Entry& entry = found->second;
    if (entry.operation.done()) {
      return absl::FailedPreconditionError(
          model::StrCat("operation '", id, "' is already done"));
    }
    entry.cancel_requested = true;
    if (entry.operation.state == OperationState::kQueued) {
      queue_.erase(std::find(queue_.begin(), queue_.end(), id));
      dropped = std::exchange(entry.body, nullptr);
      SetDone(OperationState::kCancelled,
              absl::CancelledError("cancelled before it started"), entry);
    }
    return entry.operation;
  }

  // A state that cannot be saved (a full disk) still counts in memory; a
  // restart judges by the bundle.
  void SetDone(OperationState state, absl::Status error, Entry& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    entry.operation.state = state;
    entry.operation.error = std::move(error);
    entry.operation.end_time = absl::Now();
    SaveOperation(entry.operation, FileOf(entry.operation)).IgnoreError();
  }

  bool HasWorkOrStops() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !queue_.empty();
  }

  // The next operation, marked as running; nothing when it is time to stop.
  std::optional<std::pair<Operation, OperationBody>> Take() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Impl::HasWorkOrStops));
    if (stopping_) return std::nullopt;
    Entry& entry = entries_.find(queue_.front())->second;
    queue_.pop_front();
    entry.operation.state = OperationState::kRunning;
    SaveOperation(entry.operation, FileOf(entry.operation)).IgnoreError();
    return std::make_pair(entry.operation, std::exchange(entry.body, nullptr));
  }

  void RunAll() {
    while (auto next = Take()) {
      const std::string id = next->first.id;
      TellNow(next->first);
      const absl::Status status = RunBody(
          next->second,
          [&](const Progress& progress) { SetProgress(id, progress); },
          [&] { return ShouldStop(id); });
      // Whatever the body holds is free before anybody hears that it is done.
      next->second = nullptr;
      Finish(id, status);
    }
  }

  void SetProgress(const std::string& id, const Progress& progress) {
    absl::MutexLock telling(&listeners_mutex_);
    Operation changed;
    {
      absl::MutexLock lock(&mutex_);
      Entry& entry = entries_.find(id)->second;
      entry.operation.progress = progress;
      changed = entry.operation;
    }
    Tell(changed);
  }

  bool ShouldStop(const std::string& id) const {
    absl::MutexLock lock(&mutex_);
    return stopping_ || entries_.find(id)->second.cancel_requested;
  }

  void Finish(const std::string& id, const absl::Status& status) {
    absl::MutexLock telling(&listeners_mutex_);
    Operation changed;
    {
      absl::MutexLock lock(&mutex_);
      Entry& entry = entries_.find(id)->second;
      if (status.ok()) {
        SetDone(OperationState::kSucceeded, status, entry);
      } else if (entry.cancel_requested && absl::IsCancelled(status)) {
        SetDone(OperationState::kCancelled, status, entry);
      } else if (stopping_ && absl::IsCancelled(status)) {
        SetDone(OperationState::kFailed,
                absl::AbortedError("the server stopped"), entry);
      } else {
        SetDone(OperationState::kFailed, status, entry);
      }
      changed = entry.operation;
    }
    Tell(changed);
  }

  void AbortQueued() {
    absl::MutexLock telling(&listeners_mutex_);
    std::vector<Operation> changed;
    {
      absl::MutexLock lock(&mutex_);
      for (const std::string& id : queue_) {
        Entry& entry = entries_.find(id)->second;
        SetDone(OperationState::kFailed,
                absl::AbortedError("the server stopped"), entry);
        changed.push_back(entry.operation);
      }
      queue_.clear();
    }
    for (const Operation& operation : changed) Tell(operation);
  }

  void TellNow(const Operation& operation) {
    absl::MutexLock telling(&listeners_mutex_);
    Tell(operation);
  }

  void Tell(const Operation& operation) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(listeners_mutex_) {
    for (const auto& [token, listener] : listeners_) listener(operation);
  }

  const fs::path directory_;
  const size_t max_waiting_;
  std::thread runner_;

  absl::Mutex listeners_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  std::map<int64_t, Listener> listeners_ ABSL_GUARDED_BY(listeners_mutex_);
  int64_t last_token_ ABSL_GUARDED_BY(listeners_mutex_) = 0;

  mutable absl::Mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::string> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

Operations::Operations(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Operations::~Operations() = default;

absl::StatusOr<std::unique_ptr<Operations>> Operations::Open(
    fs::path directory, size_t max_waiting, const IsPublished& is_published) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) {
    return absl::UnavailableError(model::StrCat(
        "cannot create '", directory.string(), "': ", error.message()));
  }
  auto impl = std::make_unique<Impl>(std::move(directory), max_waiting);
  RETURN_IF_ERROR(impl->Open(is_published));
  return std::unique_ptr<Operations>(new Operations(std::move(impl)));
}

absl::StatusOr<Operation> Operations::Start(std::string checkpoint,
                                            std::string bundle,
                                            OperationBody body) {
  return impl_->Start(std::move(checkpoint), std::move(bundle),
                      std::move(body));
}

absl::StatusOr<Operation> Operations::Get(std::string_view id) const {
  return impl_->Get(id);
}

std::vector<Operation> Operations::List() const { return impl_->List(); }

absl::StatusOr<Operation> Operations::Cancel(std::string_view id) {
  return impl_->Cancel(id);
}

int64_t Operations::Subscribe(Listener listener) {
  return impl_->Subscribe(std::move(listener));
}

void Operations::Unsubscribe(int64_t token) { impl_->Unsubscribe(token); }

}  // namespace octet::quantization
