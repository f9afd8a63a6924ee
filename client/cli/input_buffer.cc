#include "client/cli/input_buffer.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/lib/local_files.h"

namespace octet::cli {
namespace {

constexpr int kLookAgainMs = 50;

}  // namespace

absl::StatusOr<std::unique_ptr<InputBuffer>> InputBuffer::Open(
    const std::string& path, std::function<bool()> interrupted) {
  if (std::error_code error; std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is a directory"));
  }
  const int descriptor = path == "-" ? dup(STDIN_FILENO)
                                     : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return client::CannotRead(path, errno);
  return std::unique_ptr<InputBuffer>(
      new InputBuffer(path, descriptor, std::move(interrupted)));
}

InputBuffer::InputBuffer(std::string path, int descriptor,
                         std::function<bool()> interrupted)
    : path_(std::move(path)),
      descriptor_(descriptor),
      interrupted_(std::move(interrupted)) {}

InputBuffer::~InputBuffer() { close(descriptor_); }

absl::Status InputBuffer::Await() const {
  pollfd input = {.fd = descriptor_, .events = POLLIN, .revents = 0};
  int ready = 0;
  while (ready == 0) {
    if (interrupted_()) return absl::CancelledError("interrupted");
    ready = poll(&input, 1, kLookAgainMs);
  }
  return ready > 0 ? absl::OkStatus() : client::CannotRead(path_, errno);
}

InputBuffer::int_type InputBuffer::underflow() {
  status_ = Await();
  if (!status_.ok()) return traits_type::eof();
  const ssize_t size = read(descriptor_, block_.data(), block_.size());
  if (size < 0) status_ = client::CannotRead(path_, errno);
  if (size <= 0) return traits_type::eof();
  setg(block_.data(), block_.data(), block_.data() + size);
  return traits_type::to_int_type(block_[0]);
}

}  // namespace octet::cli
