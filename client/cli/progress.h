// A progress line on a terminal:
//
//   uploading  [=========>          ]  46%  39.9 MiB/s  ETA 0:01  model.safe...
//
// Drawn over itself, at most ten times a second, and only where somebody looks:
// stderr must be a terminal and --quiet not given.

#ifndef OCTET_CLIENT_CLI_PROGRESS_H_
#define OCTET_CLIENT_CLI_PROGRESS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace octet::cli {

enum class Unit { kBytes, kSteps };

struct ProgressState {
  std::string label;
  std::string note;  // shortened first when the line is full
  Unit unit = Unit::kBytes;
  int64_t done = 0;
  int64_t total = 0;  // 0: unknown, no bar and no ETA
  int64_t start = 0;  // done when the clock started (a resumed upload)
  absl::Duration elapsed;
};

// One line, shorter than `width`. Pure, so that it is tested.
std::string RenderProgress(const ProgressState& state, size_t width);

class Progress {
 public:
  // Draws nothing when `enabled` is false.
  Progress(absl::string_view label, Unit unit, bool enabled);
  // Clears the line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(int64_t done, int64_t total, absl::string_view note = "");

 private:
  const bool enabled_;
  absl::Time started_;  // of the first Update
  absl::Time drawn_ = absl::InfinitePast();
  bool first_ = true;
  ProgressState state_;
};

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_PROGRESS_H_
