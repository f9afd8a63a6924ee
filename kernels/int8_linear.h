// y = activation(x W^T + bias) [+ residual], with W in INT8.
//
//   acc[m,n] = sum_k code(x)[m,k] * W[n,k]                     (int32, exact)
//   y[m,n]   = act(w_scale[n] * (x_scale[m] * acc[m,n]) + outliers[m,n]
//                  + bias[n]) + residual[m,n]
//
// Activations become codes on the way in, in one of two ways:
//   per token (dynamic)  x_scale[m] = max_k |x[m,k]| / 127, zero point 0
//   static affine        x_scale = input_scale for every row, fixed zero point
//
// x may be transformed first: smoothed, x[m,k] * inverse_smoothing[k], where
// SmoothQuant could not be folded into what made x, then rotated by blocks
// (hadamard.h). W and the outlier weights are of the smoothed x, W also of the
// rotated one. quantize_rows.h has the order of everything.
//
// With a scale per group of K, w_scale[n] * (x_scale[m] * acc[m,n]) becomes
//
//   x_scale[m] * sum_g w_scale[n,g] * acc[m,n,g]
//
// where the sum is a chain of fused multiply-adds from 0 by rising g.
//
// Every product and sum above is rounded to FP32 on its own, in the order of
// the formula (acc as one rounding of the exact integer), on every instruction
// set: results are bit-equal across them. outliers[m,n] is a chain of fused
// multiply-adds from 0: first the outlier columns in their order, x * FP16
// weight, then live outliers by rising k, x * (w_scale[n] * W[n,k]). A bias of
// -0 counts as +0, and so does one that is absent.
//
// LLM.int8 (Dettmers et al. 2022): columns of x listed as outliers, and live
// values with |x| >= outlier_threshold, leave the INT8 product before the row
// scale is taken, and are multiplied in float.
//
// A row's result is bit-identical whatever other rows are in the batch and
// however many threads run: M and N are partitioned, K never is.

#ifndef OCTET_KERNELS_INT8_LINEAR_H_
#define OCTET_KERNELS_INT8_LINEAR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/activation.h"
#include "kernels/linear_io.h"
#include "kernels/matrix_view.h"
#include "kernels/phase_clock.h"
#include "kernels/thread_pool.h"

namespace octet::kernels {

struct Int8Layer;  // int8_layer.h
struct Kernel;     // registry.h
struct RowCoding;  // quantize_rows.h

enum class ActivationCoding : uint8_t { kPerToken, kStaticAffine };

// Which code multiplies the integers; everything around it is the same, and so
// is the result. oneDNN knows AMX; it keeps weights of its own beside ours,
// which multiply where only some columns are asked for.
enum class Int8Backend : uint8_t { kOwn, kOneDnn };

// Row-major weights as a bundle holds them. Everything is copied or packed by
// Create; nothing here has to outlive it.
struct Int8LinearSpec {
  MatrixView<const int8_t> codes;  // [N, K]; -128 is accepted
  absl::Span<const float> scales;  // [N], or [N, ceil(K / group_size)] by rows,
                                   // all positive and finite
  size_t group_size = 0;           // 32, 64, 128 or 256; 0: a scale per row
  absl::Span<const float> bias;    // [N], or empty
  ActivationCoding coding = ActivationCoding::kPerToken;
  float input_scale = 1.0F;                   // kStaticAffine only
  int32_t input_zero_point = 0;               // kStaticAffine only, in [0, 255]
  absl::Span<const int32_t> outlier_columns;  // sorted, unique, < K
  MatrixView<const uint16_t> outlier_weights;  // FP16 bits [columns, N]
  float outlier_threshold = 0.0F;  // 0: live values are not looked at
  absl::Span<const float> inverse_smoothing;  // [K], positive; or empty
  size_t hadamard_block = 0;                  // of hadamard.h; 0: no rotation
  Int8Backend backend = Int8Backend::kOwn;
};

struct LinearCall {
  Activation activation = Activation::kNone;
  MatrixView<const float> residual;  // [M, N], or data == nullptr
  ThreadPool* pool = nullptr;        // nullptr: the calling thread alone
  PhaseTimes* times = nullptr;       // added to, if given
};

class Int8Linear {
 public:
  // Errors: INVALID_ARGUMENT naming the field, when shapes disagree, a scale
  // is not positive and finite, or an outlier column is out of order or range.
  // UNIMPLEMENTED when oneDNN is asked for and has nothing exact: without
  // AVX512-VNNI (or with a lower OCTET_MAX_ISA), with groups of K, or with a K
  // that int32 does not hold.
  static absl::StatusOr<Int8Linear> Create(const Int8LinearSpec& spec);
  // On a kernel of one's own choice; the CPU must be able to run it.
  static absl::StatusOr<Int8Linear> CreateWith(const Kernel& kernel,
                                               const Int8LinearSpec& spec);

  Int8Linear(Int8Linear&&) noexcept;
  Int8Linear& operator=(Int8Linear&&) noexcept;
  ~Int8Linear();

  // x [M, K], y [M, N]; any M >= 0; y does not overlap x: tasks read all of a
  // row of x while others write y. A row of x with a NaN or an infinity gives a
  // row of NaN; callers that must refuse it look first (AllFinite).
  // Errors: INVALID_ARGUMENT when a shape does not fit.
  absl::Status Run(MatrixView<const float> x, MatrixView<float> y,
                   const LinearCall& call) const;
  // As above, for other elements than FP32. Codes are what input_coding() makes
  // of x. They cannot enter a layer with outliers, which are floats.
  absl::Status Run(const LinearInput& x, const LinearOutput& y,
                   const LinearCall& call) const;

  // Columns [first, first + y.cols) of the product alone, as one of several
  // layers that were stacked into this one: the same bits as Run gives them.
  // `first` and y.cols are multiples of ColumnStep(), unless they end with N.
  absl::Status RunColumns(size_t first, MatrixView<const float> x,
                          MatrixView<float> y, const LinearCall& call) const;
  // Of layers made by Create on this machine: the columns of a panel.
  static size_t ColumnStep();

  // How rows of x become codes, for whoever does it beforehand
  // (norm_quantize.h). Its pointers live as long as the layer.
  const RowCoding& input_coding() const;

  size_t in_features() const;
  size_t out_features() const;
  size_t packed_bytes() const;           // what stays in memory
  std::string_view kernel_name() const;  // e.g. "dot_u8s8_avx512vnni_6x64"
  std::string_view isa() const;          // e.g. "avx512vnni"

 private:
  explicit Int8Linear(std::unique_ptr<Int8Layer> layer);
  std::unique_ptr<Int8Layer> layer_;
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_INT8_LINEAR_H_
