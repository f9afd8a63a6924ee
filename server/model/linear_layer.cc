#include "server/model/linear_layer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/finite.h"
#include "kernels/float_linear.h"
#include "kernels/half.h"
#include "kernels/status_macros.h"
#include "server/model/layer_tensors.h"
#include "server/model/str_cat.h"

namespace octet::model {
namespace {

// Int8Linear and FloatLinear look alike; the graph sees one type.
template <typename Kernel>
class KernelLayer : public LinearLayer {
 public:
  explicit KernelLayer(Kernel kernel) : kernel_(std::move(kernel)) {}

  absl::Status Run(kernels::MatrixView<const float> x,
                   kernels::MatrixView<float> y,
                   const kernels::LinearCall& call) const override {
    return kernel_.Run(x, y, call);
  }
  const kernels::Int8Linear* int8() const override {
    if constexpr (std::is_same_v<Kernel, kernels::Int8Linear>) return &kernel_;
    return nullptr;
  }
  size_t weight_bytes() const override { return kernel_.packed_bytes(); }
  std::string_view kernel_name() const override {
    return kernel_.kernel_name();
  }
  std::string_view isa() const override { return kernel_.isa(); }

 private:
  Kernel kernel_;
};

template <typename Kernel>
absl::StatusOr<std::unique_ptr<LinearLayer>> Wrap(
    const Linear& linear, absl::StatusOr<Kernel> kernel) {
  if (!kernel.ok()) {
    return absl::Status(kernel.status().code(),
                        StrCat("layer '", linear.layer,
                               "': ", std::string(kernel.status().message())));
  }
  return std::make_unique<KernelLayer<Kernel>>(*std::move(kernel));
}

absl::StatusOr<std::vector<float>> FindBias(const Linear& linear,
                                            const TensorSource& tensors) {
  if (!linear.has_bias) return std::vector<float>();
  const std::array<int64_t, 1> shape = {
      static_cast<int64_t>(linear.out_features)};
  return FindFiniteFloat(tensors, StrCat(linear.layer, ".bias"), shape);
}

std::array<int64_t, 2> WeightShape(const Linear& linear) {
  return {static_cast<int64_t>(linear.out_features),
          static_cast<int64_t>(linear.in_features)};
}

absl::StatusOr<std::unique_ptr<LinearLayer>> MakeFp32(
    const Linear& linear, const TensorSource& tensors) {
  ASSIGN_OR_RETURN(const std::vector<float> bias, FindBias(linear, tensors));
  ASSIGN_OR_RETURN(const std::vector<float> weights,
                   FindFiniteFloat(tensors, StrCat(linear.layer, ".weight"),
                                   WeightShape(linear)));
  return Wrap(
      linear,
      kernels::FloatLinear::Create(
          {weights.data(), linear.out_features, linear.in_features}, bias));
}

absl::StatusOr<std::unique_ptr<LinearLayer>> Make16(
    const Linear& linear, kernels::FloatType type,
    const TensorSource& tensors) {
  const std::string name = StrCat(linear.layer, ".weight");
  ASSIGN_OR_RETURN(const std::vector<float> bias, FindBias(linear, tensors));
  ASSIGN_OR_RETURN(const std::vector<float> weights,
                   FindFiniteFloat(tensors, name, WeightShape(linear)));
  const auto narrow = type == kernels::FloatType::kFp16 ? kernels::FloatToFp16
                                                        : kernels::FloatToBf16;
  std::vector<uint16_t> bits(weights.size());
  std::transform(weights.begin(), weights.end(), bits.begin(), narrow);
  const auto overflow = type == kernels::FloatType::kFp16
                            ? kernels::FirstNonFiniteFp16(bits)
                            : kernels::FirstNonFiniteBf16(bits);
  if (overflow) {
    return absl::InvalidArgumentError(
        StrCat("tensor '", name, "' has ", weights[*overflow], " at index ",
               *overflow, ", which the layer's 16-bit scheme cannot hold"));
  }
  return Wrap(
      linear,
      kernels::FloatLinear::Create16(
          type, {bits.data(), linear.out_features, linear.in_features}, bias));
}

// The tensors of an INT8 layer, alive until its weights are packed.
struct Int8Tensors {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<float> bias;
  std::vector<int32_t> outlier_columns;
  std::vector<uint16_t> outlier_weights;
  std::vector<float> inverse_smoothing;
};

absl::Status LoadStaticInput(const Linear& linear, const TensorSource& tensors,
                             kernels::Int8LinearSpec& spec) {
  constexpr std::array<int64_t, 1> kOne = {1};
  ASSIGN_OR_RETURN(
      const std::vector<float> scale,
      FindScales(tensors, StrCat(linear.layer, ".input_scale"), kOne));
  ASSIGN_OR_RETURN(
      const std::vector<int8_t> zero_point,
      FindElements<int8_t>(tensors, StrCat(linear.layer, ".input_zero_point"),
                           DataType::kI8, kOne));
  spec.coding = kernels::ActivationCoding::kStaticAffine;
  spec.input_scale = scale[0];
  spec.input_zero_point = zero_point[0] + 128;
  return absl::OkStatus();
}

absl::Status CheckColumns(std::string_view name,
                          const std::vector<int32_t>& columns,
                          size_t in_features) {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i] < 0 || static_cast<size_t>(columns[i]) >= in_features) {
      return absl::InvalidArgumentError(
          StrCat("tensor '", name, "' has column ", columns[i], " at index ", i,
                 "; the layer has ", in_features, " columns"));
    }
    if (i > 0 && columns[i] <= columns[i - 1]) {
      return absl::InvalidArgumentError(
          StrCat("tensor '", name, "' has column ", columns[i], " at index ", i,
                 " after column ", columns[i - 1], "; columns must rise"));
    }
  }
  return absl::OkStatus();
}

// A layer in which calibration saw no outlier may come without the tensors.
absl::Status LoadOutliers(const Linear& linear, const TensorSource& tensors,
                          Int8Tensors& loaded) {
  const std::string columns_name = StrCat(linear.layer, ".outlier_columns");
  const std::string weight_name = StrCat(linear.layer, ".outlier_weight");
  const absl::StatusOr<TensorView> columns = tensors.Find(columns_name);
  if (!columns.ok()) {
    if (!tensors.Contains(weight_name)) return absl::OkStatus();
    return columns.status();
  }
  const int64_t count = std::max<int64_t>(columns->elements(), 0);
  const std::array<int64_t, 2> shape = {
      count, static_cast<int64_t>(linear.out_features)};
  ASSIGN_OR_RETURN(loaded.outlier_columns,
                   FindElements<int32_t>(tensors, columns_name, DataType::kI32,
                                         {shape.data(), 1}));
  RETURN_IF_ERROR(
      CheckColumns(columns_name, loaded.outlier_columns, linear.in_features));
  if (count == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(
      loaded.outlier_weights,
      FindElements<uint16_t>(tensors, weight_name, DataType::kF16, shape));
  if (const auto index = kernels::FirstNonFiniteFp16(loaded.outlier_weights)) {
    return absl::InvalidArgumentError(
        StrCat("tensor '", weight_name, "' is not finite at index ", *index));
  }
  return absl::OkStatus();
}

absl::Status CheckScheme(const Linear& linear, const LinearScheme& scheme) {
  const absl::Status status = Validate(scheme);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(
      StrCat("layer '", linear.layer, "': ", std::string(status.message())));
}

// A scale per output, or per output and group of inputs.
std::array<int64_t, 2> ScaleShape(const Linear& linear,
                                  const LinearScheme& scheme) {
  const size_t group = scheme.group_size;
  const size_t groups =
      group == 0 ? 1 : (linear.in_features + group - 1) / group;
  return {static_cast<int64_t>(linear.out_features),
          static_cast<int64_t>(groups)};
}

// On the backend that was asked for, or on our own.
absl::StatusOr<kernels::Int8Linear> CreateInt8(std::string_view layer,
                                               kernels::Int8LinearSpec spec,
                                               const LinearOptions& options) {
  spec.backend = options.int8_backend;
  absl::StatusOr<kernels::Int8Linear> made = kernels::Int8Linear::Create(spec);
  if (!absl::IsUnimplemented(made.status())) return made;
  if (options.on_fallback) options.on_fallback(layer, made.status());
  spec.backend = kernels::Int8Backend::kOwn;
  return kernels::Int8Linear::Create(spec);
}

absl::StatusOr<std::unique_ptr<LinearLayer>> MakeInt8(
    const Linear& linear, const LinearScheme& scheme,
    const TensorSource& tensors, const LinearOptions& options) {
  RETURN_IF_ERROR(CheckScheme(linear, scheme));
  const std::string weight = StrCat(linear.layer, ".weight");
  const std::array<int64_t, 2> shape = WeightShape(linear);
  Int8Tensors loaded;
  ASSIGN_OR_RETURN(loaded.codes,
                   FindElements<int8_t>(tensors, weight, DataType::kI8, shape));
  ASSIGN_OR_RETURN(loaded.scales, FindScales(tensors, StrCat(weight, "_scale"),
                                             ScaleShape(linear, scheme)));
  ASSIGN_OR_RETURN(loaded.bias, FindBias(linear, tensors));

  kernels::Int8LinearSpec spec;
  spec.codes = {loaded.codes.data(), linear.out_features, linear.in_features};
  spec.scales = loaded.scales;
  spec.bias = loaded.bias;
  spec.group_size = scheme.group_size;
  spec.hadamard_block = scheme.hadamard_block;
  if (scheme.smoothed) {
    ASSIGN_OR_RETURN(
        loaded.inverse_smoothing,
        FindScales(tensors, StrCat(linear.layer, ".inverse_smoothing"),
                   {shape.data() + 1, 1}));
    spec.inverse_smoothing = loaded.inverse_smoothing;
  }
  if (scheme.scheme == Scheme::kW8A8Static) {
    RETURN_IF_ERROR(LoadStaticInput(linear, tensors, spec));
  } else if (scheme.scheme == Scheme::kLlmInt8) {
    RETURN_IF_ERROR(LoadOutliers(linear, tensors, loaded));
    spec.outlier_columns = loaded.outlier_columns;
    spec.outlier_weights = {loaded.outlier_weights.data(),
                            loaded.outlier_columns.size(), linear.out_features};
    spec.outlier_threshold = scheme.outlier_threshold;
  }
  return Wrap(linear, CreateInt8(linear.layer, spec, options));
}

}  // namespace

absl::StatusOr<std::unique_ptr<LinearLayer>> MakeLinearLayer(
    const Linear& linear, const LinearScheme& scheme,
    const TensorSource& tensors, const LinearOptions& options) {
  switch (scheme.scheme) {
    case Scheme::kFp32:
      return MakeFp32(linear, tensors);
    case Scheme::kFp16:
      return Make16(linear, kernels::FloatType::kFp16, tensors);
    case Scheme::kBf16:
      return Make16(linear, kernels::FloatType::kBf16, tensors);
    case Scheme::kW8A8Dynamic:
    case Scheme::kW8A8Static:
    case Scheme::kLlmInt8:
      return MakeInt8(linear, scheme, tensors, options);
  }
  return absl::InvalidArgumentError(
      StrCat("layer '", linear.layer, "': unknown scheme"));
}

}  // namespace octet::model
