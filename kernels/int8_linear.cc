#include "kernels/int8_linear.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "kernels/float_activation.h"
#include "kernels/half.h"
#include "kernels/rounding.h"

namespace octet::kernels {

class Int8Linear::Impl {
 public:
  explicit Impl(const Int8LinearSpec& spec)
      : n(spec.codes.rows),
        k(spec.codes.cols),
        coding(spec.coding),
        input_scale(spec.input_scale),
        zero_point(spec.input_zero_point),
        threshold(spec.outlier_threshold),
        scales(spec.scales.begin(), spec.scales.end()),
        bias(spec.bias.begin(), spec.bias.end()),
        columns(spec.outlier_columns.begin(), spec.outlier_columns.end()) {
    for (size_t i = 0; i < n; ++i) {
      codes.insert(codes.end(), spec.codes.row(i), spec.codes.row(i) + k);
    }
    for (size_t c = 0; c < columns.size(); ++c) {
      for (size_t i = 0; i < n; ++i) {
        outlier_weights.push_back(Fp16ToFloat(spec.outlier_weights.row(c)[i]));
      }
    }
    if (bias.empty()) bias.assign(n, 0.0F);
  }

  void RunRow(const float* x, const float* residual, Activation activation,
              float* y) const {
    std::vector<float> inside(x, x + k);
    std::vector<std::pair<size_t, float>> live;
    float sum = 0.0F;
    for (const float value : inside) sum += value * 0.0F;
    for (const int32_t column : columns) inside[column] = 0.0F;
    for (size_t i = 0; threshold > 0.0F && i < k; ++i) {
      if (!(std::fabs(inside[i]) >= threshold)) continue;
      live.emplace_back(i, inside[i]);
      inside[i] = 0.0F;
    }
    float absmax = 0.0F;
    for (const float value : inside)
      absmax = std::max(absmax, std::fabs(value));
    const bool dynamic = coding == ActivationCoding::kPerToken;
    float scale = dynamic ? AbsmaxToScale(absmax) : input_scale;
    const float inverse = InverseScale(scale);
    if (std::isnan(sum)) scale = std::numeric_limits<float>::quiet_NaN();
    for (size_t j = 0; j < n; ++j) {
      int64_t acc = 0;
      for (size_t i = 0; i < k && !std::isnan(sum); ++i) {
        const int32_t code =
            dynamic ? SymmetricCode(inside[i], inverse)
                    : AffineCode(inside[i], inverse, zero_point) - zero_point;
        acc += code * codes[j * k + i];
      }
      float outliers = 0.0F;
      for (size_t c = 0; c < columns.size(); ++c) {
        outliers =
            std::fma(x[columns[c]], outlier_weights[c * n + j], outliers);
      }
      for (const auto& [i, value] : live) {
        outliers = std::fma(value, scales[j] * codes[j * k + i], outliers);
      }
      y[j] = scales[j] * (scale * static_cast<float>(acc)) + outliers + bias[j];
    }
    Activate(activation, {y, 1, n});
    if (residual == nullptr) return;
    for (size_t j = 0; j < n; ++j) y[j] += residual[j];
  }

  size_t n;
  size_t k;
  ActivationCoding coding;
  float input_scale;
  int32_t zero_point;
  float threshold;
  std::vector<float> scales;
  std::vector<float> bias;
  std::vector<int32_t> columns;
  std::vector<int8_t> codes;
  std::vector<float> outlier_weights;
};

Int8Linear::Int8Linear(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Int8Linear::Int8Linear(Int8Linear&&) noexcept = default;
Int8Linear& Int8Linear::operator=(Int8Linear&&) noexcept = default;
Int8Linear::~Int8Linear() = default;

absl::StatusOr<Int8Linear> Int8Linear::Create(const Int8LinearSpec& spec) {
  if (spec.scales.size() != spec.codes.rows) {
    return absl::InvalidArgumentError(
        absl::StrCat("scales holds ", spec.scales.size(), " values; codes has ",
                     spec.codes.rows, " rows"));
  }
  return Int8Linear(std::make_unique<Impl>(spec));
}

absl::Status Int8Linear::Run(MatrixView<const float> x, MatrixView<float> y,
                             const LinearCall& call) const {
  if (x.cols != impl_->k || y.cols != impl_->n || x.rows != y.rows) {
    return absl::InvalidArgumentError("x and y do not have the layer's shape");
  }
  for (size_t i = 0; i < x.rows; ++i) {
    const float* residual =
        call.residual.data == nullptr ? nullptr : call.residual.row(i);
    impl_->RunRow(x.row(i), residual, call.activation, y.row(i));
  }
  return absl::OkStatus();
}

size_t Int8Linear::in_features() const { return impl_->k; }
size_t Int8Linear::out_features() const { return impl_->n; }
size_t Int8Linear::packed_bytes() const { return impl_->codes.size(); }
std::string_view Int8Linear::kernel_name() const { return "dot_scalar_1x1"; }
std::string_view Int8Linear::isa() const { return "scalar"; }

}  // namespace octet::kernels
