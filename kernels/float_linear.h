// y = activation(x W^T + bias) [+ residual], with W in FP32, FP16 or BF16 and
// sums in FP32.
//
// FP32 runs through oneDNN where that keeps rows independent (onednn_gemm.h),
// otherwise, and for 16-bit weights, through our own panels: 16-bit weights
// stay 16-bit in memory and are widened in registers.
//
// A row's result is bit-identical whatever other rows are in the batch and
// however many threads run: M and N are partitioned, K never is.

#ifndef OCTET_KERNELS_FLOAT_LINEAR_H_
#define OCTET_KERNELS_FLOAT_LINEAR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/float_companions.h"
#include "kernels/int8_linear.h"
#include "kernels/matrix_view.h"

namespace octet::kernels {

// Which code multiplies; kAuto is the one to use, kPanels is for tests.
enum class FloatBackend : uint8_t { kAuto, kPanels };

class FloatLinear {
 public:
  // w [N, K], N and K at least 1, bias [N] or empty; both are copied.
  // Errors: INVALID_ARGUMENT naming the field whose shape is wrong.
  static absl::StatusOr<FloatLinear> Create(
      MatrixView<const float> w, absl::Span<const float> bias,
      FloatBackend backend = FloatBackend::kAuto);
  // `type` is kFp16 or kBf16, w its bits.
  static absl::StatusOr<FloatLinear> Create16(FloatType type,
                                              MatrixView<const uint16_t> w,
                                              absl::Span<const float> bias);

  FloatLinear(FloatLinear&&) noexcept;
  FloatLinear& operator=(FloatLinear&&) noexcept;
  ~FloatLinear();

  // x [M, K], y [M, N], any M >= 0; y overlaps neither x nor the residual.
  // `times` is left alone: nothing here is quantized.
  // Errors: INVALID_ARGUMENT when a shape does not fit.
  absl::Status Run(MatrixView<const float> x, MatrixView<float> y,
                   const LinearCall& call) const;

  size_t packed_bytes() const;
  std::string_view kernel_name() const;  // "onednn_brgemm_fp32"
  std::string_view isa() const;

 private:
  class Impl;
  explicit FloatLinear(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_FLOAT_LINEAR_H_
