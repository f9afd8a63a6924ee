#include "kernels/int8_linear.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "kernels/cpu_features.h"
#include "kernels/int8_linear_impl.h"
#include "kernels/matrix_view.h"
#include "kernels/registry.h"
#include "kernels/status_macros.h"

namespace octet::kernels {
namespace {

constexpr size_t kMaxK = size_t{1} << 24;  // column sums stay in int32

template <typename T>
absl::Status CheckShape(absl::string_view field, const MatrixView<T>& view,
                        size_t rows, size_t cols) {
  if (view.rows == rows && view.cols == cols && view.stride >= view.cols &&
      (view.data != nullptr || rows == 0)) {
    return absl::OkStatus();
  }
  if (view.data == nullptr && rows != 0) {
    return absl::InvalidArgumentError(absl::StrCat(field, " has no data"));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      field, " has shape [", view.rows, ", ", view.cols, "] and stride ",
      view.stride, "; expected shape [", rows, ", ", cols, "]"));
}

absl::Status CheckScale(absl::string_view field, float scale) {
  if (scale > 0.0F && std::isfinite(scale)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      field, " is ", scale, "; expected a positive finite number"));
}

absl::Status CheckWeights(const Int8LinearSpec& spec) {
  const size_t n = spec.codes.rows;
  const size_t k = spec.codes.cols;
  if (n == 0 || k == 0 || k >= kMaxK) {
    return absl::InvalidArgumentError(
        absl::StrCat("codes has shape [", n, ", ", k,
                     "]; expected N >= 1 and 1 <= K < ", kMaxK));
  }
  RETURN_IF_ERROR(CheckShape("codes", spec.codes, n, k));
  if (spec.scales.size() != n) {
    return absl::InvalidArgumentError(
        absl::StrCat("scales holds ", spec.scales.size(), " values; codes has ",
                     n, " rows"));
  }
  for (size_t i = 0; i < n; ++i) {
    RETURN_IF_ERROR(
        CheckScale(absl::StrCat("scales[", i, "]"), spec.scales[i]));
  }
  if (!spec.bias.empty() && spec.bias.size() != n) {
    return absl::InvalidArgumentError(absl::StrCat(
        "bias holds ", spec.bias.size(), " values; codes has ", n, " rows"));
  }
  return absl::OkStatus();
}

absl::Status CheckActivations(const Int8LinearSpec& spec) {
  if (spec.coding != ActivationCoding::kStaticAffine) return absl::OkStatus();
  RETURN_IF_ERROR(CheckScale("input_scale", spec.input_scale));
  if (spec.input_zero_point < 0 || spec.input_zero_point > 255) {
    return absl::InvalidArgumentError(absl::StrCat(
        "input_zero_point is ", spec.input_zero_point, "; expected 0 to 255"));
  }
  return absl::OkStatus();
}

absl::Status CheckOutliers(const Int8LinearSpec& spec) {
  if (!(spec.outlier_threshold >= 0.0F)) {
    return absl::InvalidArgumentError(
        absl::StrCat("outlier_threshold is ", spec.outlier_threshold,
                     "; expected 0 (none) or more"));
  }
  const auto& columns = spec.outlier_columns;
  for (size_t i = 0; i < columns.size(); ++i) {
    const int64_t lowest = i == 0 ? 0 : int64_t{columns[i - 1]} + 1;
    if (columns[i] >= lowest && columns[i] < spec.codes.cols) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("outlier_columns[", i, "] is ", columns[i], "; expected ",
                     lowest, " to ", spec.codes.cols - 1, ", in rising order"));
  }
  if (columns.empty()) return absl::OkStatus();
  return CheckShape("outlier_weights", spec.outlier_weights, columns.size(),
                    spec.codes.rows);
}

}  // namespace

Int8Linear::Int8Linear(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Int8Linear::Int8Linear(Int8Linear&&) noexcept = default;
Int8Linear& Int8Linear::operator=(Int8Linear&&) noexcept = default;
Int8Linear::~Int8Linear() = default;

absl::StatusOr<Int8Linear> Int8Linear::Create(const Int8LinearSpec& spec) {
  return CreateWith(SelectKernel(HostFeatures()), spec);
}

absl::StatusOr<Int8Linear> Int8Linear::CreateWith(const Kernel& kernel,
                                                  const Int8LinearSpec& spec) {
  RETURN_IF_ERROR(CheckWeights(spec));
  RETURN_IF_ERROR(CheckActivations(spec));
  RETURN_IF_ERROR(CheckOutliers(spec));
  return Int8Linear(std::make_unique<Impl>(kernel, spec));
}

absl::Status Int8Linear::Run(MatrixView<const float> x, MatrixView<float> y,
                             const LinearCall& call) const {
  RETURN_IF_ERROR(CheckShape("x", x, x.rows, in_features()));
  RETURN_IF_ERROR(CheckShape("y", y, x.rows, out_features()));
  if (call.residual.data != nullptr) {
    RETURN_IF_ERROR(
        CheckShape("residual", call.residual, x.rows, out_features()));
  }
  if (x.rows > 0) impl_->Run(x, y, call);
  return absl::OkStatus();
}

size_t Int8Linear::in_features() const { return impl_->weights().k(); }
size_t Int8Linear::out_features() const { return impl_->weights().n(); }
size_t Int8Linear::packed_bytes() const { return impl_->bytes(); }
std::string_view Int8Linear::kernel_name() const {
  return impl_->kernel().name;
}
std::string_view Int8Linear::isa() const {
  return IsaName(impl_->kernel().isa);
}

}  // namespace octet::kernels
