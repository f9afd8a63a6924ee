// Rows of floats that are somewhere else yet, such as on the wire or in shared
// memory. Whoever computes them fetches them, piece by piece, to where they are
// computed from.

#ifndef OCTET_SERVER_SERVING_FETCHED_ROWS_H_
#define OCTET_SERVER_SERVING_FETCHED_ROWS_H_

#include <cstddef>
#include <functional>

#include "absl/status/status.h"

namespace octet::serving {

struct FetchedRows {
  size_t rows = 0;
  size_t cols = 0;
  // Writes rows [first, first + count) to `to`, one after the other. Called by
  // several threads at a time.
  std::function<absl::Status(size_t first, size_t count, float* to)> fetch;
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_FETCHED_ROWS_H_
