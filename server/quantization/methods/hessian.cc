#include "server/quantization/methods/hessian.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "kernels/float_linear.h"
#include "kernels/status_macros.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;

// Columns that are factored by themselves: 64 doubles are 8 lines of cache.
constexpr size_t kBlock = 64;
// Rows of a product at once: what is above the diagonal is not computed in
// vain for more than this many rows.
constexpr size_t kStripe = 256;

// y = a b^T
absl::Status Product(MatrixView<const float> a, MatrixView<const float> b,
                     kernels::ThreadPool* pool, MatrixView<float> y) {
  ASSIGN_OR_RETURN(const kernels::FloatLinear linear,
                   kernels::FloatLinear::Create(b, {}));
  kernels::LinearCall call;
  call.pool = pool;
  return linear.Run(a, y, call);
}

// The block at `begin` on the diagonal, and the rows below it.
absl::Status FactorBlock(MatrixView<float> a, size_t begin, size_t end) {
  for (size_t j = begin; j < end; ++j) {
    const float* pivot_row = a.row(j);
    double pivot = pivot_row[j];
    for (size_t k = begin; k < j; ++k) {
      pivot -= static_cast<double>(pivot_row[k]) * pivot_row[k];
    }
    if (!(pivot > 0.0) || !std::isfinite(pivot)) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "the second moments of the inputs are singular at column %d (pivot "
          "%g): calibrate on more samples, or round this layer to nearest",
          j, pivot));
    }
    const double root = std::sqrt(pivot);
    a.row(j)[j] = static_cast<float>(root);
    for (size_t i = j + 1; i < a.rows; ++i) {
      float* row = a.row(i);
      double sum = row[j];
      for (size_t k = begin; k < j; ++k) {
        sum -= static_cast<double>(row[k]) * pivot_row[k];
      }
      row[j] = static_cast<float>(sum / root);
    }
  }
  return absl::OkStatus();
}

// a -= l l^T right of the block, where l is the block's columns below it.
absl::Status Update(MatrixView<float> a, size_t begin, size_t end,
                    kernels::ThreadPool* pool, std::vector<float>& product) {
  for (size_t at = end; at < a.rows; at += kStripe) {
    const size_t rows = std::min(kStripe, a.rows - at);
    const size_t columns = at + rows - end;  // up to the diagonal
    const MatrixView<const float> l = a.Columns(begin, end - begin);
    const MatrixView<float> part(product.data(), rows, columns);
    RETURN_IF_ERROR(
        Product(l.Rows(at, rows), l.Rows(end, columns), pool, part));
    for (size_t i = 0; i < rows; ++i) {
      float* row = a.row(at + i) + end;
      for (size_t j = 0; j < columns; ++j) row[j] -= part.row(i)[j];
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<float>> DampedHessian(MatrixView<const float> x,
                                                 float damping,
                                                 kernels::ThreadPool* pool) {
  const size_t columns = x.cols;
  // Scaled here, so that sums stay where the samples are.
  const float scale = 1.0F / std::sqrt(static_cast<float>(x.rows));
  std::vector<float> transposed(columns * x.rows);
  for (size_t i = 0; i < x.rows; ++i) {
    for (size_t k = 0; k < columns; ++k) {
      transposed[k * x.rows + i] = scale * x.row(i)[k];
    }
  }
  const MatrixView<const float> t(transposed.data(), columns, x.rows);
  std::vector<float> hessian(columns * columns);
  RETURN_IF_ERROR(Product(t, t, pool, {hessian.data(), columns, columns}));
  double trace = 0.0;
  for (size_t k = 0; k < columns; ++k) trace += hessian[k * columns + k];
  if (!(trace > 0.0) || !std::isfinite(trace)) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "the second moments of %d sample rows sum up to %g: nothing can be "
        "learned from such inputs; calibrate with other samples, or round to "
        "nearest",
        x.rows, trace));
  }
  const auto damp =
      static_cast<float>(damping * trace / static_cast<double>(columns));
  for (size_t k = 0; k < columns; ++k) hessian[k * columns + k] += damp;
  return hessian;
}

absl::Status Cholesky(MatrixView<float> a, kernels::ThreadPool* pool,
                      const std::function<bool()>& cancelled) {
  std::vector<float> product(std::min(kStripe, a.rows) * a.rows);
  for (size_t begin = 0; begin < a.rows; begin += kBlock) {
    if (cancelled && cancelled()) {
      return absl::CancelledError("the quantization was cancelled");
    }
    const size_t end = std::min(begin + kBlock, a.rows);
    RETURN_IF_ERROR(FactorBlock(a, begin, end));
    RETURN_IF_ERROR(Update(a, begin, end, pool, product));
  }
  return absl::OkStatus();
}

}  // namespace octet::quantization
