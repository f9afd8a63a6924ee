// Named tensors that somebody else owns, and where they come from.

#ifndef OCTET_SERVER_MODEL_TENSOR_H_
#define OCTET_SERVER_MODEL_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace octet::model {

enum class DataType : uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool
};

size_t SizeOf(DataType type);          // bytes of one element
bool IsFloat(DataType type);           // F32, F16 or BF16
std::string_view Name(DataType type);  // "F32", as safetensors says it
absl::StatusOr<DataType> ParseDataType(std::string_view name);

// Row-major, little-endian bytes.
struct TensorView {
  DataType type = DataType::kF32;
  std::vector<int64_t> shape;
  absl::Span<const std::byte> bytes;

  int64_t elements() const;
};

std::string ShapeString(absl::Span<const int64_t> shape);  // "[384, 1536]"

// Tensors by name: a safetensors file, a set of shards, a bundle.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  virtual std::vector<std::string> Names() const = 0;  // sorted

  // The view lives as long as the source. NOT_FOUND names the tensor.
  virtual absl::StatusOr<TensorView> Find(std::string_view name) const = 0;

  bool Contains(std::string_view name) const { return Find(name).ok(); }

  // `bytes`, of a view, are not needed for a while. What a mapped file gives
  // back then is memory, not data: they can still be read.
  virtual void Release(absl::Span<const std::byte> /*bytes*/) const {}
};

// Widens F32, F16 or BF16 to FP32; INVALID_ARGUMENT for any other type.
absl::StatusOr<std::vector<float>> ToFloat(const TensorView& tensor);

// The same for elements of such a type, into as many floats.
void WidenFloats(DataType type, absl::Span<const std::byte> bytes, float* out);

// As Find + ToFloat, and the shape must be `shape`. INVALID_ARGUMENT says both
// shapes: "tensor 'a.weight' has shape [3, 4]; the config says [4, 4]".
absl::StatusOr<std::vector<float>> FindFloat(const TensorSource& source,
                                             std::string_view name,
                                             absl::Span<const int64_t> shape);

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_TENSOR_H_
