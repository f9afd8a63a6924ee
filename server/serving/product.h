// y = x W^T + b of rows that are fetched in pieces.
//
// A piece is copied, looked through and multiplied while it is in a core's
// cache, and pieces are what threads share: of 16 MiB that come over the wire,
// no thread waits until another has copied them. Where the weights are larger
// than a piece of x, each piece would read all of them again; then x is fetched
// whole, and threads share the weights' columns, as kernels/ does it.
//
// Results are the same bits in any pieces, since a row's result does not depend
// on other rows.

#ifndef OCTET_SERVER_SERVING_PRODUCT_H_
#define OCTET_SERVER_SERVING_PRODUCT_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "kernels/matrix_view.h"
#include "kernels/phase_clock.h"
#include "kernels/thread_pool.h"
#include "server/model/linear_layer.h"
#include "server/serving/fetched_rows.h"

namespace octet::serving {

struct MatMulOptions {
  kernels::ThreadPool* pool = nullptr;  // nullptr: the calling thread alone
  bool allow_non_finite = false;        // such rows come out as NaN
};

// As a clock saw it; the phases are CPU time.
struct MatMulTimes {
  absl::Duration decode;  // rows were fetched
  absl::Duration compute;
  kernels::PhaseTimes phases;
};

// x [M, K], y [M, N] of a layer with K inputs. `times` is overwritten. Errors:
// INVALID_ARGUMENT "x[1][2]: ..." for the first value that is not finite; those
// of x.fetch; RESOURCE_EXHAUSTED without memory for a piece.
absl::Status Multiply(const model::LinearLayer& weights, const FetchedRows& x,
                      const MatMulOptions& options,
                      kernels::MatrixView<float> y, MatMulTimes* times);

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_PRODUCT_H_
