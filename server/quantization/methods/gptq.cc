#include "server/quantization/methods/gptq.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "kernels/float_linear.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/quantization/methods/hessian.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;

constexpr size_t kColumnsAtOnce = 64;  // coded before the rest hears of them

std::vector<float> Transposed(MatrixView<const float> matrix) {
  std::vector<float> transposed(matrix.cols * matrix.rows);
  for (size_t i = 0; i < matrix.rows; ++i) {
    for (size_t k = 0; k < matrix.cols; ++k) {
      transposed[k * matrix.rows + i] = matrix.row(i)[k];
    }
  }
  return transposed;
}

}  // namespace

// Some rows of weights while they are coded.
struct ErrorCompensation::Stripe {
  MatrixView<const float> weights;  // [rows, K]
  const float* scales;              // of the first row
  size_t scales_per_row;
  size_t group_size;  // K where a row has one scale
  int8_t* codes;      // of the first row

  std::vector<float> errors;  // [rows, block columns], w - s q
  std::vector<float> heard;   // [rows, kColumnsAtOnce] of later errors
};

absl::StatusOr<ErrorCompensation> ErrorCompensation::Create(
    MatrixView<const float> samples, float damping, kernels::ThreadPool* pool,
    std::function<bool()> cancelled) {
  const size_t blocks =
      (samples.cols + kMaxHessianColumns - 1) / kMaxHessianColumns;
  const size_t width = (samples.cols + blocks - 1) / blocks;
  ErrorCompensation compensation;
  compensation.cancelled_ = std::move(cancelled);
  for (size_t begin = 0; begin < samples.cols; begin += width) {
    const size_t count = std::min(width, samples.cols - begin);
    const absl::Status status = compensation.AddBlock(
        samples.Columns(begin, count), begin, damping, pool);
    if (!status.ok()) {
      return absl::Status(
          status.code(),
          model::StrCat(blocks == 1 ? ""
                                    : model::StrCat("columns ", begin, " to ",
                                                    begin + count - 1, ": "),
                        std::string(status.message())));
    }
  }
  return compensation;
}

absl::Status ErrorCompensation::CheckCancelled() const {
  if (!cancelled_ || !cancelled_()) return absl::OkStatus();
  return absl::CancelledError("the quantization was cancelled");
}

absl::Status ErrorCompensation::AddBlock(MatrixView<const float> samples,
                                         size_t begin, float damping,
                                         kernels::ThreadPool* pool) {
  RETURN_IF_ERROR(CheckCancelled());
  const size_t n = samples.cols;
  ASSIGN_OR_RETURN(const std::vector<float> hessian,
                   DampedHessian(samples, damping, pool));
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return hessian[a * n + a] < hessian[b * n + b];
  });
  std::vector<float> sorted(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      sorted[i * n + j] = hessian[order[i] * n + order[j]];
    }
  }
  RETURN_IF_ERROR(Cholesky({sorted.data(), n, n}, pool, cancelled_));
  // R is the transposed of what stands below the diagonal.
  for (size_t j = 0; j < n; ++j) {
    const float inverse = 1.0F / sorted[j * n + j];
    for (size_t k = j + 1; k < n; ++k) {
      sorted[j * n + k] = sorted[k * n + j] * inverse;
    }
  }
  Block& block = blocks_.emplace_back();
  block.factor = std::move(sorted);
  for (const size_t column : order) block.columns.push_back(begin + column);
  return absl::OkStatus();
}

absl::Status ErrorCompensation::RoundBlock(const Block& block, Stripe& stripe,
                                           kernels::ThreadPool* pool) const {
  const size_t n = block.columns.size();
  const size_t rows = stripe.weights.rows;
  stripe.errors.assign(rows * n, 0.0F);
  stripe.heard.assign(rows * kColumnsAtOnce, 0.0F);
  const MatrixView<const float> factor(block.factor.data(), n, n);
  const MatrixView<float> errors(stripe.errors.data(), rows, n);
  for (size_t end = n; end > 0;) {
    RETURN_IF_ERROR(CheckCancelled());
    const size_t begin = end - std::min(end, kColumnsAtOnce);
    const MatrixView<float> heard(stripe.heard.data(), rows, end - begin);
    if (end < n) {
      ASSIGN_OR_RETURN(
          const kernels::FloatLinear later,
          kernels::FloatLinear::Create(
              factor.Rows(begin, end - begin).Columns(end, n - end), {}));
      kernels::LinearCall call;
      call.pool = pool;
      RETURN_IF_ERROR(later.Run(errors.Columns(end, n - end), heard, call));
    }
    const std::vector<float> turned =
        Transposed(factor.Rows(begin, end - begin).Columns(begin, end - begin));
    const auto code_row = [&](size_t i) {
      float* const e = errors.row(i);
      float* const h = heard.row(i);
      for (size_t j = end; j-- > begin;) {
        const size_t column = block.columns[j];
        const float scale =
            stripe
                .scales[i * stripe.scales_per_row + column / stripe.group_size];
        const float w = stripe.weights.row(i)[column];
        const float c = w + h[j - begin];
        const float code =
            std::nearbyint(std::clamp(c / scale, -127.0F, 127.0F));
        stripe.codes[i * stripe.weights.cols + column] =
            static_cast<int8_t>(code);
        e[j] = w - scale * code;
        // Those before hear of it at once: no sum that has to be waited for.
        const float* const factors = turned.data() + (j - begin) * heard.cols;
        for (size_t k = 0; k < j - begin; ++k) h[k] += factors[k] * e[j];
      }
    };
    if (pool != nullptr) {
      pool->ParallelFor(rows, code_row);
    } else {
      for (size_t i = 0; i < rows; ++i) code_row(i);
    }
    end = begin;
  }
  return absl::OkStatus();
}

absl::Status ErrorCompensation::Round(MatrixView<const float> weights,
                                      absl::Span<const float> scales,
                                      size_t group_size,
                                      kernels::ThreadPool* pool,
                                      int8_t* codes) const {
  if (weights.rows == 0) return absl::OkStatus();
  Stripe stripe;
  stripe.weights = weights;
  stripe.scales = scales.data();
  stripe.scales_per_row = scales.size() / weights.rows;
  stripe.group_size = group_size == 0 ? weights.cols : group_size;
  stripe.codes = codes;
  for (const Block& block : blocks_) {
    RETURN_IF_ERROR(RoundBlock(block, stripe, pool));
  }
  return absl::OkStatus();
}

}  // namespace octet::quantization
