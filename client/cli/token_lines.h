// Token ids as lines of JSON, one sequence a line:
//
//   {"ids": [101, 7592, 102]}
//
// Other keys are left alone, so that a text may stand beside its ids. Empty
// lines are skipped.

#ifndef OCTET_CLIENT_CLI_TOKEN_LINES_H_
#define OCTET_CLIENT_CLI_TOKEN_LINES_H_

#include <cstddef>
#include <istream>

#include "absl/status/statusor.h"
#include "octet/v1/tensor.pb.h"

namespace octet::cli {

class TokenLineReader {
 public:
  explicit TokenLineReader(std::istream& input) : input_(input) {}

  // At most `max_sequences` of what is left; none at the end. Errors name the
  // line.
  absl::StatusOr<v1::TokenBatch> Next(size_t max_sequences);

 private:
  std::istream& input_;
  size_t line_number_ = 0;
};

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_TOKEN_LINES_H_
