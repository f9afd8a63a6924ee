#include "server/model/layer_tensors.h"

#include <cmath>

#include "absl/status/status.h"
#include "kernels/finite.h"
#include "server/model/str_cat.h"

namespace octet::model {

absl::StatusOr<TensorView> FindTyped(const TensorSource& tensors,
                                     std::string_view name, DataType type,
                                     absl::Span<const int64_t> shape) {
  ASSIGN_OR_RETURN(TensorView tensor, tensors.Find(name));
  if (tensor.type != type) {
    return absl::InvalidArgumentError(StrCat("tensor '", name, "' has type ",
                                             Name(tensor.type), "; it must be ",
                                             Name(type)));
  }
  if (absl::MakeConstSpan(tensor.shape) != shape) {
    return absl::InvalidArgumentError(
        StrCat("tensor '", name, "' has shape ", ShapeString(tensor.shape),
               "; it must be ", ShapeString(shape)));
  }
  const int64_t elements = tensor.elements();
  if (elements < 0 || tensor.bytes.size() / SizeOf(type) != elements ||
      tensor.bytes.size() % SizeOf(type) != 0) {
    return absl::InvalidArgumentError(
        StrCat("tensor '", name, "' of type ", Name(type), " and shape ",
               ShapeString(shape), " has ", tensor.bytes.size(), " bytes"));
  }
  return tensor;
}

absl::StatusOr<std::vector<float>> FindFiniteFloat(
    const TensorSource& tensors, std::string_view name,
    absl::Span<const int64_t> shape) {
  ASSIGN_OR_RETURN(std::vector<float> values, FindFloat(tensors, name, shape));
  if (const auto index = kernels::FirstNonFinite(values)) {
    return absl::InvalidArgumentError(StrCat(
        "tensor '", name, "' has ", values[*index], " at index ", *index));
  }
  return values;
}

absl::StatusOr<std::vector<float>> FindScales(const TensorSource& tensors,
                                              std::string_view name,
                                              absl::Span<const int64_t> shape) {
  ASSIGN_OR_RETURN(std::vector<float> scales,
                   FindElements<float>(tensors, name, DataType::kF32, shape));
  for (size_t i = 0; i < scales.size(); ++i) {
    if (!std::isfinite(scales[i]) || scales[i] <= 0.0F) {
      return absl::InvalidArgumentError(
          StrCat("tensor '", name, "' has ", scales[i], " at index ", i,
                 "; a scale must be positive and finite"));
    }
  }
  return scales;
}

}  // namespace octet::model
