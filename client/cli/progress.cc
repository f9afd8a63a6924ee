#include "client/cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/cli/format.h"
#include "client/cli/table.h"
#include "client/cli/terminal.h"

namespace octet::cli {
namespace {

constexpr absl::Duration kRedraw = absl::Milliseconds(100);
constexpr size_t kWidestBar = 30;
constexpr size_t kNarrowestBar = 8;

std::string Bar(double share, size_t width) {
  const auto filled = static_cast<size_t>(share * static_cast<double>(width));
  std::string bar(filled, '=');
  if (filled < width) bar += '>';
  bar.resize(width, ' ');
  return absl::StrCat("[", bar, "]");
}

std::string Amount(const ProgressState& state, double value) {
  return state.unit == Unit::kBytes
             ? FormatBytes(static_cast<int64_t>(value), /*exact=*/false)
             : absl::StrFormat("%.1f", value);
}

// "  46%  39.9 MiB/s  ETA 0:01", as much of it as is known.
std::string Numbers(const ProgressState& state) {
  std::string text;
  if (state.total > 0) {
    absl::StrAppendFormat(&text, "  %3d%%", 100 * state.done / state.total);
  } else {
    absl::StrAppend(&text, "  ",
                    Amount(state, static_cast<double>(state.done)));
  }
  const double seconds = absl::ToDoubleSeconds(state.elapsed);
  const auto gained = static_cast<double>(state.done - state.start);
  // The first moments say little about the rate.
  if (seconds < 0.5 || gained <= 0) return text;
  absl::StrAppend(&text, "  ", Amount(state, gained / seconds), "/s");
  if (state.total > state.done) {
    const double left =
        static_cast<double>(state.total - state.done) * seconds / gained;
    absl::StrAppend(&text, "  ETA ", FormatClock(absl::Seconds(left)));
  }
  return text;
}

}  // namespace

std::string RenderProgress(const ProgressState& given, size_t width) {
  ProgressState state = given;
  if (state.total > 0) state.done = std::min(state.done, state.total);
  const std::string numbers = Numbers(state);
  std::string line = state.label;
  // The last column stays free: terminals wrap when it is written.
  const size_t room = width > 0 ? width - 1 : 0;
  const size_t fixed = line.size() + numbers.size() + 4;
  if (state.total > 0 && room >= fixed + kNarrowestBar) {
    const double share =
        static_cast<double>(state.done) / static_cast<double>(state.total);
    absl::StrAppend(&line, "  ",
                    Bar(share, std::min(kWidestBar, room - fixed)));
  }
  absl::StrAppend(&line, numbers);
  if (!state.note.empty() && line.size() + 2 + kNarrowestBar <= room) {
    absl::StrAppend(&line, "  ",
                    ShortenMiddle(state.note, room - line.size() - 2));
  }
  return line.substr(0, room);
}

Progress::Progress(absl::string_view label, Unit unit, bool enabled)
    : enabled_(enabled) {
  state_.label = std::string(label);
  state_.unit = unit;
}

Progress::~Progress() {
  if (enabled_ && !first_) std::fputs("\r\033[K", stderr);
}

void Progress::Update(int64_t done, int64_t total, absl::string_view note) {
  if (!enabled_) return;
  const absl::Time now = absl::Now();
  if (first_) {
    state_.start = done;
    started_ = now;
  }
  first_ = false;
  if (now - drawn_ < kRedraw) return;
  drawn_ = now;
  state_.done = done;
  state_.total = total;
  state_.note = std::string(note);
  state_.elapsed = now - started_;
  std::fputs("\r\033[K", stderr);
  std::fputs(RenderProgress(state_, TerminalWidth(STDERR_FILENO)).c_str(),
             stderr);
  std::fflush(stderr);
}

}  // namespace octet::cli
