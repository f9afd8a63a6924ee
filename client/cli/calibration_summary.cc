#include "client/cli/calibration_summary.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace octet::cli {
namespace {

void ShowCapture(Session& session, const v1::Capture& capture) {
  const bool done = capture.state() == v1::Capture::STATE_DONE;
  session.Print(absl::StrFormat(
      "capture of %s %s: %d of %d samples, %d dropped%s\n", capture.model(),
      done ? "done" : "running", capture.taken_samples(), capture.max_samples(),
      capture.dropped_samples(),
      done ? absl::StrCat("; ", capture.state_reason()) : ""));
}

}  // namespace

void ShowSummary(Session& session, const v1::Calibration& calibration) {
  session.Print(absl::StrFormat(
      "%s of %s: %d samples in %d batches, %d repeats, %d near duplicates\n",
      calibration.name(), calibration.checkpoint(), calibration.sample_count(),
      calibration.batch_count(), calibration.duplicate_sample_count(),
      calibration.near_duplicate_sample_count()));
  if (calibration.has_capture()) ShowCapture(session, calibration.capture());
  for (const std::string& warning : calibration.warnings()) {
    session.Print(absl::StrCat("warning: ", warning, "\n"));
  }
}

}  // namespace octet::cli
