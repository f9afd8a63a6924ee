#include "client/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <limits>

#include "absl/strings/numbers.h"

namespace octet::cli {
namespace {

// Files and pipes get everything whole.
constexpr size_t kWithoutTerminal = std::numeric_limits<size_t>::max();

}  // namespace

size_t TerminalWidth(int descriptor) {
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col;
  }
  const char* columns = std::getenv("COLUMNS");
  int width = 0;
  if (columns != nullptr && absl::SimpleAtoi(columns, &width) && width > 0) {
    return static_cast<size_t>(width);
  }
  return kWithoutTerminal;
}

bool IsTerminal(int descriptor) { return isatty(descriptor) == 1; }

}  // namespace octet::cli
