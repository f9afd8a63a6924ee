#include "server/model/tensor.h"

#include <array>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_join.h"
#include "kernels/half.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"

namespace octet::model {
namespace {

struct TypeRow {
  DataType type;
  std::string_view name;
  size_t size;
};

constexpr std::array<TypeRow, 10> kTypes = {{
    {DataType::kF64, "F64", 8},
    {DataType::kF32, "F32", 4},
    {DataType::kF16, "F16", 2},
    {DataType::kBF16, "BF16", 2},
    {DataType::kI64, "I64", 8},
    {DataType::kI32, "I32", 4},
    {DataType::kI16, "I16", 2},
    {DataType::kI8, "I8", 1},
    {DataType::kU8, "U8", 1},
    {DataType::kBool, "BOOL", 1},
}};

const TypeRow& RowOf(DataType type) {
  return kTypes[static_cast<size_t>(type)];
}

void Widen(absl::Span<const std::byte> bytes, float (*convert)(uint16_t),
           float* out) {
  for (size_t i = 0; i < bytes.size() / sizeof(uint16_t); ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes.data() + i * sizeof(bits), sizeof(bits));
    out[i] = convert(bits);
  }
}

}  // namespace

size_t SizeOf(DataType type) { return RowOf(type).size; }

std::string_view Name(DataType type) { return RowOf(type).name; }

bool IsFloat(DataType type) {
  return type == DataType::kF32 || type == DataType::kF16 ||
         type == DataType::kBF16;
}

absl::StatusOr<DataType> ParseDataType(std::string_view name) {
  for (const TypeRow& row : kTypes) {
    if (row.name == name) return row.type;
  }
  return absl::InvalidArgumentError(
      StrCat("unknown tensor type '", name,
             "'; known are F64, F32, F16, "
             "BF16, I64, I32, I16, I8, U8 and BOOL"));
}

int64_t TensorView::elements() const {
  int64_t count = 1;
  for (const int64_t dimension : shape) {
    if (dimension < 0 || __builtin_mul_overflow(count, dimension, &count)) {
      return -1;
    }
  }
  return count;
}

std::string ShapeString(absl::Span<const int64_t> shape) {
  return StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<std::vector<float>> ToFloat(const TensorView& tensor) {
  const int64_t elements = tensor.elements();
  if (elements < 0 ||
      tensor.bytes.size() / SizeOf(tensor.type) !=
          static_cast<size_t>(elements) ||
      tensor.bytes.size() % SizeOf(tensor.type) != 0) {
    return absl::InvalidArgumentError(StrCat(
        "a ", Name(tensor.type), " tensor of shape ", ShapeString(tensor.shape),
        " cannot have ", tensor.bytes.size(), " bytes"));
  }
  if (!IsFloat(tensor.type)) {
    return absl::InvalidArgumentError(
        StrCat("type ", Name(tensor.type),
               " where a float (F32, F16 or BF16) is needed"));
  }
  std::vector<float> values(static_cast<size_t>(elements));
  WidenFloats(tensor.type, tensor.bytes, values.data());
  return values;
}

void WidenFloats(DataType type, absl::Span<const std::byte> bytes, float* out) {
  if (type == DataType::kF16) {
    Widen(bytes, kernels::Fp16ToFloat, out);
  } else if (type == DataType::kBF16) {
    Widen(bytes, kernels::Bf16ToFloat, out);
  } else if (!bytes.empty()) {
    std::memcpy(out, bytes.data(), bytes.size());
  }
}

absl::StatusOr<std::vector<float>> FindFloat(const TensorSource& source,
                                             std::string_view name,
                                             absl::Span<const int64_t> shape) {
  ASSIGN_OR_RETURN(const TensorView tensor, source.Find(name));
  if (absl::MakeConstSpan(tensor.shape) != shape) {
    return absl::InvalidArgumentError(
        StrCat("tensor '", name, "' has shape ", ShapeString(tensor.shape),
               "; the config says ", ShapeString(shape)));
  }
  absl::StatusOr<std::vector<float>> values = ToFloat(tensor);
  if (!values.ok()) {
    return absl::InvalidArgumentError(
        StrCat("tensor '", name, "': ", values.status().message()));
  }
  return values;
}

}  // namespace octet::model
