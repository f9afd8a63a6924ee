// A file, or standard input, whose reads end when the user interrupts: whoever
// writes to a pipe may never write again.

#ifndef OCTET_CLIENT_CLI_INPUT_BUFFER_H_
#define OCTET_CLIENT_CLI_INPUT_BUFFER_H_

#include <array>
#include <functional>
#include <memory>
#include <streambuf>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace octet::cli {

class InputBuffer : public std::streambuf {
 public:
  // "-" is standard input. `interrupted` is asked several times a second.
  static absl::StatusOr<std::unique_ptr<InputBuffer>> Open(
      const std::string& path, std::function<bool()> interrupted);
  ~InputBuffer() override;
  InputBuffer(const InputBuffer&) = delete;
  InputBuffer& operator=(const InputBuffer&) = delete;

  // Why the reading ended: OK at the end of the file, CANCELLED when
  // interrupted.
  const absl::Status& status() const { return status_; }

 protected:
  int_type underflow() override;

 private:
  InputBuffer(std::string path, int descriptor,
              std::function<bool()> interrupted);
  // Waits until there is something to read.
  absl::Status Await() const;

  const std::string path_;
  const int descriptor_;
  const std::function<bool()> interrupted_;
  absl::Status status_;
  std::array<char, size_t{1} << 16> block_;
};

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_INPUT_BUFFER_H_
