#include "server/rpc/resources/captures.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "kernels/finite.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/status.h"
#include "server/rpc/resources/calibration_writer.h"
#include "server/rpc/resources/resource_names.h"
#include "server/serving/live_input.h"
#include "spdlog/spdlog.h"

namespace octet::rpc {
namespace {

using model::StrCat;
using serving::CaptureEnd;
using serving::LiveInput;

absl::Status Check(const CaptureRequest& request) {
  if (!(request.rate > 0 && request.rate <= 1)) {
    return FieldViolation(
        "rate", StrCat("is ", request.rate, "; it must be above 0, at most 1"));
  }
  if (request.max_samples < 1 || request.max_samples > Captures::kMostSamples) {
    return FieldViolation("max_samples",
                          StrCat("must be from 1 to ", Captures::kMostSamples));
  }
  if (request.max_duration <= absl::ZeroDuration() ||
      request.max_duration > Captures::kLongest) {
    return FieldViolation("max_duration", "must be above 0, at most 7 days");
  }
  return absl::OkStatus();
}

bool IsFinite(const LiveInput& input) {
  return !kernels::FirstNonFinite(input.inputs.features) &&
         !kernels::FirstNonFinite(input.values);
}

std::string Sentence(CaptureEnd why, const CaptureStatus& status) {
  switch (why) {
    case CaptureEnd::kFull:
      return StrCat("it has taken ", status.taken, " samples");
    case CaptureEnd::kTime:
      return "its max_duration has passed";
    case CaptureEnd::kStopped:
      return "it was stopped";
    case CaptureEnd::kUnloaded:
      return StrCat("model '", status.request.model, "' was unloaded");
    case CaptureEnd::kOtherModel:
      return StrCat("model '", status.request.model,
                    "' has a version whose inputs or layers are not those of "
                    "the calibration's checkpoint");
  }
  return "";
}

}  // namespace

// Adds what it is given on the queue's thread; read from any.
class Captures::Running final : public serving::CaptureSink {
 public:
  Running(CaptureRequest request, std::unique_ptr<CalibrationWriter> writer,
          telemetry::Metrics* metrics)
      : checkpoint_(writer->calibration().checkpoint),
        metrics_(metrics),
        writer_(std::move(writer)) {
    status_.start = absl::Now();
    status_.end = status_.start + request.max_duration;
    status_.request = std::move(request);
  }

  const std::string& checkpoint() const { return checkpoint_; }

  CaptureStatus status() const {
    absl::MutexLock lock(&mutex_);
    return status_;
  }

  bool Take(LiveInput input) override {
    const CaptureStatus before = status();
    const size_t left = before.request.max_samples - before.taken;
    if (input.samples() > left) input.KeepFirst(left);
    if (!IsFinite(input)) {
      Dropped(input.samples());
      return true;
    }
    error_ = Guarded([&] { return Add(input); });
    if (!error_.ok()) return false;
    Count(input.samples(), 0);
    return input.samples() < left;
  }

  void Dropped(size_t samples) override { Count(0, samples); }

  void Ended(CaptureEnd why) override {
    if (error_.ok()) error_ = Guarded([&] { return writer_->Save(); });
    writer_.reset();  // lets go of the lease before it says DONE
    absl::MutexLock lock(&mutex_);
    status_.running = false;
    status_.end = absl::Now();
    status_.reason =
        error_.ok() ? Sentence(why, status_) : std::string(error_.message());
    spdlog::info("capture calibration={} model={} samples={} dropped={}: {}",
                 status_.request.calibration, status_.request.model,
                 status_.taken, status_.dropped, status_.reason);
  }

 private:
  // On this thread alone, which has the lowest priority.
  absl::Status Add(const LiveInput& input) {
    return input.layer.empty() ? writer_->Add(input.inputs, /*pool=*/nullptr)
                               : writer_->Add(input.layer, input.rows());
  }

  void Count(size_t taken, size_t dropped) {
    {
      absl::MutexLock lock(&mutex_);
      status_.taken += taken;
      status_.dropped += dropped;
    }
    metrics_->Captured(status_.request.model, taken, dropped);
  }

  const std::string checkpoint_;
  telemetry::Metrics* const metrics_;
  std::unique_ptr<CalibrationWriter> writer_;  // of the queue's thread
  absl::Status error_;                         // likewise
  mutable absl::Mutex mutex_;
  CaptureStatus status_;  // guarded by mutex_, but for the request: constant
};

Captures::Captures(Backend* backend, serving::CaptureQueue* queue, bool allowed)
    : backend_(*backend), queue_(*queue), allowed_(allowed) {}

Captures::~Captures() {
  std::vector<std::shared_ptr<Running>> all;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [id, running] : by_calibration_) all.push_back(running);
  }
  for (const auto& running : all) queue_.Stop(*running);
}

absl::Status Captures::Start(const CaptureRequest& request) {
  if (!allowed_) {
    return absl::FailedPreconditionError(
        "capturing live traffic is off; the server's flag --allow-capture "
        "turns it on");
  }
  RETURN_IF_ERROR(Check(request));
  ASSIGN_OR_RETURN(const auto model,
                   backend_.models->FindPrimary(request.model));
  ASSIGN_OR_RETURN(auto writer,
                   CalibrationWriter::Open(
                       &backend_, request.calibration,
                       StrCat("a capture of model '", request.model, "'")));
  if (serving::InputShape(writer->graph()) != model->input_shape()) {
    return absl::FailedPreconditionError(
        StrCat("model '", request.model, "' and checkpoint '",
               writer->calibration().checkpoint,
               "' of the calibration differ in their inputs or layers; use a "
               "calibration of the checkpoint that the model was made from"));
  }
  if (writer->graph().input != model::InputKind::kNone) {
    RETURN_IF_ERROR(writer->LoadModel());
  }
  const auto running =
      std::make_shared<Running>(request, std::move(writer), backend_.metrics);
  absl::ReaderMutexLock dependencies(&backend_.dependencies);
  // It may have gone while it was loaded; from here on it can't.
  RETURN_IF_ERROR(backend_.checkpoints.Find(running->checkpoint()).status());
  backend_.metrics->CaptureStarted(request.model);
  if (!queue_.Start({.model = request.model,
                     .rate = request.rate,
                     .end = running->status().end,
                     .input_shape = model->input_shape(),
                     .sink = running})) {
    return AlreadyCaptured(request.model);
  }
  {
    absl::MutexLock lock(&mutex_);
    by_calibration_.insert_or_assign(request.calibration, running);
  }
  // Unless it was unloaded before the queue knew that it is captured.
  if (!backend_.models->FindPrimary(request.model).ok()) {
    queue_.Unloaded(request.model);
  }
  return absl::OkStatus();
}

absl::Status Captures::AlreadyCaptured(std::string_view model) const {
  absl::MutexLock lock(&mutex_);
  for (const auto& [id, running] : by_calibration_) {
    const CaptureStatus status = running->status();
    if (!status.running || status.request.model != model) continue;
    return absl::FailedPreconditionError(
        StrCat("model '", model, "' is captured already, into '",
               ResourceName(kCalibrations, id), "'; stop that first"));
  }
  return absl::AbortedError(StrCat("a capture of model '", model,
                                   "' starts or ends just now; try again"));
}

absl::Status Captures::Stop(std::string_view calibration) {
  std::shared_ptr<Running> running;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = by_calibration_.find(calibration);
    if (found != by_calibration_.end()) running = found->second;
  }
  if (running == nullptr) {
    return absl::FailedPreconditionError(
        StrCat("nothing is captured into '",
               ResourceName(kCalibrations, calibration), "'"));
  }
  queue_.Stop(*running);
  return absl::OkStatus();
}

std::optional<CaptureStatus> Captures::Find(
    std::string_view calibration) const {
  absl::MutexLock lock(&mutex_);
  const auto found = by_calibration_.find(calibration);
  if (found == by_calibration_.end()) return std::nullopt;
  return found->second->status();
}

std::optional<std::string> Captures::UserOf(std::string_view checkpoint) const {
  absl::MutexLock lock(&mutex_);
  for (const auto& [id, running] : by_calibration_) {
    if (running->checkpoint() == checkpoint && running->status().running) {
      return id;
    }
  }
  return std::nullopt;
}

void Captures::Forget(std::string_view calibration) {
  absl::MutexLock lock(&mutex_);
  const auto found = by_calibration_.find(calibration);
  if (found != by_calibration_.end()) by_calibration_.erase(found);
}

}  // namespace octet::rpc
