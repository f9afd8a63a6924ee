#include "server/model/import_support.h"

#include <array>
#include <utility>

#include "kernels/status_macros.h"
#include "server/model/layer_norm_names.h"
#include "server/model/str_cat.h"

namespace octet::model {
namespace {

absl::StatusOr<TensorView> FindShaped(const TensorSource& tensors,
                                      std::string_view name,
                                      absl::Span<const int64_t> shape) {
  absl::StatusOr<TensorView> tensor = tensors.Find(name);
  if (!tensor.ok()) {
    return absl::InvalidArgumentError(StrCat("tensor '", name,
                                             "' is missing; the config says ",
                                             ShapeString(shape)));
  }
  if (absl::MakeConstSpan(tensor->shape) != shape) {
    return absl::InvalidArgumentError(
        StrCat("tensor '", name, "' has shape ", ShapeString(tensor->shape),
               "; the config says ", ShapeString(shape)));
  }
  return tensor;
}

absl::Status WrongType(std::string_view name, DataType type,
                       std::string_view expected) {
  return absl::InvalidArgumentError(StrCat(
      "tensor '", name, "' has type ", Name(type), "; it must be ", expected));
}

// An INT8 weight means nothing without its scales. How many an output has is
// the plan's to say, and linear_layer's to check.
absl::Status CheckWeightScale(const TensorSource& tensors,
                              std::string_view weight, size_t out) {
  const std::string name = StrCat(weight, "_scale");
  std::array<int64_t, 2> shape = {static_cast<int64_t>(out), 1};
  if (const auto found = tensors.Find(name);
      found.ok() && found->shape.size() == 2 && found->shape[1] > 1) {
    shape[1] = found->shape[1];
  }
  ASSIGN_OR_RETURN(const TensorView scale, FindShaped(tensors, name, shape));
  if (scale.type != DataType::kF32) return WrongType(name, scale.type, "F32");
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckFloatTensor(const TensorSource& tensors,
                              std::string_view name,
                              absl::Span<const int64_t> shape) {
  ASSIGN_OR_RETURN(const TensorView tensor, FindShaped(tensors, name, shape));
  if (!IsFloat(tensor.type)) {
    return WrongType(name, tensor.type, "F32, F16 or BF16");
  }
  return absl::OkStatus();
}

absl::Status CheckLayerNorm(const TensorSource& tensors, std::string_view layer,
                            size_t width) {
  const std::array<int64_t, 1> shape = {static_cast<int64_t>(width)};
  const LayerNormNames names = FindLayerNormNames(tensors, layer);
  RETURN_IF_ERROR(CheckFloatTensor(tensors, names.weight, shape));
  return CheckFloatTensor(tensors, names.bias, shape);
}

absl::StatusOr<Linear> CheckLinear(const TensorSource& tensors,
                                   std::string_view layer, size_t out,
                                   size_t in) {
  const std::string weight = StrCat(layer, ".weight");
  const std::array<int64_t, 2> shape = {static_cast<int64_t>(out),
                                        static_cast<int64_t>(in)};
  ASSIGN_OR_RETURN(const TensorView tensor, FindShaped(tensors, weight, shape));
  if (tensor.type == DataType::kI8) {
    RETURN_IF_ERROR(CheckWeightScale(tensors, weight, out));
  } else if (!IsFloat(tensor.type)) {
    return WrongType(weight, tensor.type, "F32, F16, BF16 or I8");
  }
  const std::string bias = StrCat(layer, ".bias");
  const bool has_bias = tensors.Contains(bias);
  if (has_bias) {
    RETURN_IF_ERROR(CheckFloatTensor(tensors, bias, {shape.data(), 1}));
  }
  Linear linear{};
  linear.layer = std::string(layer);
  linear.has_bias = has_bias;
  linear.in_features = in;
  linear.out_features = out;
  return linear;
}

absl::StatusOr<Linear> InferLinear(const TensorSource& tensors,
                                   std::string_view layer) {
  const std::string weight = StrCat(layer, ".weight");
  absl::StatusOr<TensorView> tensor = tensors.Find(weight);
  if (!tensor.ok()) {
    return absl::InvalidArgumentError(
        StrCat("tensor '", weight, "' is missing"));
  }
  const std::vector<int64_t>& shape = tensor->shape;
  if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1) {
    return absl::InvalidArgumentError(
        StrCat("tensor '", weight, "' has shape ", ShapeString(shape),
               "; a linear needs [out, in], both at least 1"));
  }
  return CheckLinear(tensors, layer, static_cast<size_t>(shape[0]),
                     static_cast<size_t>(shape[1]));
}

absl::StatusOr<kernels::Activation> ParseActivation(const JsonFields& config,
                                                    std::string_view field) {
  using kernels::Activation;
  static constexpr std::array<std::pair<std::string_view, Activation>, 7>
      kNames = {{
          {"gelu", Activation::kGelu},
          {"gelu_new", Activation::kGeluTanh},
          {"gelu_pytorch_tanh", Activation::kGeluTanh},
          {"relu", Activation::kRelu},
          {"silu", Activation::kSilu},
          {"swish", Activation::kSilu},
          {"tanh", Activation::kTanh},
      }};
  ASSIGN_OR_RETURN(const std::string name, config.Text(field));
  for (const auto& [known, activation] : kNames) {
    if (known == name) return activation;
  }
  return config.Error(field,
                      StrCat("is '", name.substr(0, 40),
                             "'; known are gelu, gelu_new, gelu_pytorch_tanh, "
                             "relu, silu, swish and tanh"));
}

}  // namespace octet::model
