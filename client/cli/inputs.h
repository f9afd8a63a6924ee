// Model inputs from files: rows from .npy, token ids from lines of JSON.

#ifndef OCTET_CLIENT_CLI_INPUTS_H_
#define OCTET_CLIENT_CLI_INPUTS_H_

#include <cstddef>
#include <functional>
#include <istream>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/input_buffer.h"
#include "client/cli/token_lines.h"
#include "client/lib/inference.h"
#include "octet/v1/tensor.pb.h"

namespace octet::cli {

// Reads a file in batches: "x.npy" gives features, anything else, "-" (stdin)
// included, gives tokens.
class InputReader {
 public:
  // CANCELLED from Next once `interrupted`, which ends the waiting for a pipe.
  static absl::StatusOr<std::unique_ptr<InputReader>> Open(
      const std::string& path, std::function<bool()> interrupted);

  // At most `max_samples` sequences or rows; nothing at the end.
  absl::StatusOr<std::optional<v1::ModelInputs>> Next(size_t max_samples);

 private:
  InputReader() = default;

  std::unique_ptr<InputBuffer> buffer_;
  std::istream stream_{nullptr};
  std::optional<TokenLineReader> lines_;
  std::optional<client::Matrix> rows_;
  int64_t next_row_ = 0;
};

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_INPUTS_H_
