// Tensors of a layer, copied out of a source and checked on the way: type and
// shape must be exactly what the layer needs, values finite, scales positive.
// Errors are NOT_FOUND or INVALID_ARGUMENT and name the tensor.

#ifndef OCTET_SERVER_MODEL_LAYER_TENSORS_H_
#define OCTET_SERVER_MODEL_LAYER_TENSORS_H_

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/status_macros.h"
#include "server/model/tensor.h"

namespace octet::model {

// F32, F16 or BF16, widened.
absl::StatusOr<std::vector<float>> FindFiniteFloat(
    const TensorSource& tensors, std::string_view name,
    absl::Span<const int64_t> shape);

// F32; every value positive and finite.
absl::StatusOr<std::vector<float>> FindScales(const TensorSource& tensors,
                                              std::string_view name,
                                              absl::Span<const int64_t> shape);

// The tensor, if it has this type and shape and as many bytes as they say.
absl::StatusOr<TensorView> FindTyped(const TensorSource& tensors,
                                     std::string_view name, DataType type,
                                     absl::Span<const int64_t> shape);

// Its elements; T must be as wide as `type`.
template <typename T>
absl::StatusOr<std::vector<T>> FindElements(const TensorSource& tensors,
                                            std::string_view name,
                                            DataType type,
                                            absl::Span<const int64_t> shape) {
  ASSIGN_OR_RETURN(const TensorView tensor,
                   FindTyped(tensors, name, type, shape));
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  if (!values.empty()) {
    std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(T));
  }
  return values;
}

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_LAYER_TENSORS_H_
