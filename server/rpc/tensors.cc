#include "server/rpc/tensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "kernels/aligned_vector.h"
#include "kernels/half.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/model/tensor.h"
#include "server/rpc/calls/status.h"
#include "server/rpc/wire/message.h"

namespace octet::rpc {
namespace {

using model::StrCat;

// Wire bytes are used as they are.
static_assert(std::endian::native == std::endian::little);

absl::StatusOr<size_t> ElementSize(std::string_view field, v1::DataType type) {
  switch (type) {
    case v1::DATA_TYPE_F32:
      return sizeof(float);
    case v1::DATA_TYPE_F16:
    case v1::DATA_TYPE_BF16:
      return sizeof(uint16_t);
    default:
      return FieldViolation(
          StrCat(field, ".type"),
          v1::DataType_IsValid(type)
              ? StrCat(v1::DataType_Name(type),
                       " is not one of F32, F16 and BF16")
              : StrCat(static_cast<int>(type), " is no known type"));
  }
}

absl::Status CheckShape(std::string_view field, const v1::Tensor& tensor,
                        size_t element_size, size_t data_bytes) {
  const std::string shape = StrCat(field, ".shape");
  const std::vector<int64_t> extents(tensor.shape().begin(),
                                     tensor.shape().end());
  if (extents.size() != 2) {
    return FieldViolation(
        shape, StrCat("has ", extents.size(), " extents; a matrix has 2"));
  }
  if (extents[0] < 0 || extents[1] < 0) {
    return FieldViolation(
        shape, StrCat(model::ShapeString(extents), " has a negative extent"));
  }
  uint64_t bytes = element_size;
  for (const int64_t extent : extents) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes)) {
      return FieldViolation(shape,
                            StrCat(model::ShapeString(extents), " overflows"));
    }
  }
  if (bytes != data_bytes) {
    return FieldViolation(
        StrCat(field, ".data"),
        StrCat("has ", data_bytes, " bytes; shape ",
               model::ShapeString(extents), " of ",
               v1::DataType_Name(tensor.type()), " takes ", bytes));
  }
  return absl::OkStatus();
}

// 16-bit floats are widened while they are in cache.
constexpr size_t kHalvesAtOnce = 4096;

template <typename Widen>
void WidenTo(float* values, const WireBytes& data, Widen widen) {
  std::array<uint16_t, kHalvesAtOnce> halves;
  WireCursor cursor = data.cursor();
  for (size_t left = data.size() / sizeof(uint16_t); left > 0;) {
    const size_t count = std::min(left, halves.size());
    cursor.CopyTo(halves.data(), count * sizeof(uint16_t));
    for (size_t i = 0; i < count; ++i) values[i] = widen(halves[i]);
    values += count;
    left -= count;
  }
}

void CopyTo(float* values, v1::DataType type, const WireBytes& data) {
  if (type == v1::DATA_TYPE_F32) {
    data.CopyTo(values);
  } else if (type == v1::DATA_TYPE_F16) {
    WidenTo(values, data, kernels::Fp16ToFloat);
  } else {
    WidenTo(values, data, kernels::Bf16ToFloat);
  }
}

// The bytes of a field that is in one piece.
class OneChunk {
 public:
  explicit OneChunk(const std::string& data)
      : chunk_(reinterpret_cast<const uint8_t*>(data.data()), data.size()) {}
  OneChunk(const OneChunk&) = delete;
  OneChunk& operator=(const OneChunk&) = delete;

  WireBytes bytes() const {
    return {WireCursor(absl::MakeConstSpan(&chunk_, 1)), chunk_.size()};
  }

 private:
  const WireChunk chunk_;
};

bool IsAligned(const void* data) {
  return reinterpret_cast<uintptr_t>(data) % alignof(float) == 0;
}

template <typename Narrow>
grpc::Slice Narrowed(absl::Span<const float> values, Narrow narrow) {
  kernels::AlignedVector<uint16_t> halves(values.size());
  std::transform(values.begin(), values.end(), halves.begin(), narrow);
  return SliceOf(std::move(halves));
}

std::string_view KindOfInput(model::InputKind kind) {
  switch (kind) {
    case model::InputKind::kTokens:
      return "tokens";
    case model::InputKind::kFeatures:
      return "features";
    case model::InputKind::kNone:
      return "no inputs";
  }
  return "";
}

model::ModelInput DecodeTokens(const v1::TokenBatch& tokens) {
  model::ModelInput input;
  input.token_ids.assign(tokens.ids().begin(), tokens.ids().end());
  input.lengths.assign(tokens.lengths().begin(), tokens.lengths().end());
  return input;
}

}  // namespace

absl::StatusOr<WireMatrix> WireMatrix::Check(std::string_view field,
                                             const v1::Tensor& tensor,
                                             const WireBytes& data) {
  ASSIGN_OR_RETURN(const size_t element_size,
                   ElementSize(field, tensor.type()));
  RETURN_IF_ERROR(CheckShape(field, tensor, element_size, data.size()));
  WireMatrix matrix;
  matrix.type_ = tensor.type();
  matrix.rows_ = static_cast<size_t>(tensor.shape(0));
  matrix.cols_ = static_cast<size_t>(tensor.shape(1));
  matrix.data_ = data;
  return matrix;
}

void WireMatrix::CopyRows(size_t first, size_t count, float* to) const {
  if (rows_ == 0) return;
  const size_t row_bytes = data_.size() / rows_;
  CopyTo(to, type_, data_.Part(first * row_bytes, count * row_bytes));
}

absl::StatusOr<FloatMatrix> FloatMatrix::Decode(std::string_view field,
                                                const v1::Tensor& tensor) {
  const std::string& data = tensor.data();
  const OneChunk chunk(data);
  ASSIGN_OR_RETURN(const WireMatrix wire,
                   WireMatrix::Check(field, tensor, chunk.bytes()));
  FloatMatrix matrix;
  matrix.view_ = {reinterpret_cast<const float*>(data.data()), wire.rows(),
                  wire.cols()};
  if (tensor.type() == v1::DATA_TYPE_F32 && IsAligned(data.data())) {
    return matrix;
  }
  matrix.own_ = kernels::AlignedBuffer::Uninitialized(
      wire.rows() * wire.cols() * sizeof(float));
  wire.CopyRows(0, wire.rows(), matrix.own_.As<float>());
  matrix.view_.data = matrix.own_.As<const float>();
  return matrix;
}

absl::StatusOr<WireInputs> ReadInputs(const v1::ModelInputs& inputs,
                                      const WireBytes& features,
                                      const model::Graph& graph) {
  const bool fits =
      graph.input == model::InputKind::kTokens
          ? inputs.has_tokens()
          : graph.input == model::InputKind::kFeatures && inputs.has_features();
  if (graph.input == model::InputKind::kNone) {
    return absl::FailedPreconditionError(
        "a linear_set is a set of matrices and takes no inputs as a whole");
  }
  if (!fits) {
    const std::string_view kind = KindOfInput(graph.input);
    return FieldViolation(kind, StrCat("is not set; the model takes ", kind));
  }
  WireInputs read;
  if (inputs.has_tokens()) {
    read.tokens = DecodeTokens(inputs.tokens());
    return read;
  }
  ASSIGN_OR_RETURN(read.features,
                   WireMatrix::Check("features", inputs.features(), features));
  if (read.features->cols() != graph.input_width) {
    return FieldViolation(
        "features.shape",
        StrCat("rows have ", read.features->cols(),
               " columns; the model takes ", graph.input_width));
  }
  return read;
}

absl::StatusOr<model::ModelInput> DecodeInputs(const v1::ModelInputs& inputs,
                                               const model::Graph& graph) {
  const OneChunk chunk(inputs.features().data());
  ASSIGN_OR_RETURN(WireInputs read, ReadInputs(inputs, chunk.bytes(), graph));
  model::ModelInput input = std::move(read.tokens);
  if (!read.features) return input;
  input.features.resize(read.features->rows() * read.features->cols());
  input.feature_rows = read.features->rows();
  read.features->CopyRows(0, input.feature_rows, input.features.data());
  return input;
}

absl::StatusOr<v1::DataType> OutputType(v1::DataType asked) {
  if (asked == v1::DATA_TYPE_UNSPECIFIED) return v1::DATA_TYPE_F32;
  if (asked == v1::DATA_TYPE_F32 || asked == v1::DATA_TYPE_F16 ||
      asked == v1::DATA_TYPE_BF16) {
    return asked;
  }
  return FieldViolation("output_type", "must be F32, F16 or BF16");
}

grpc::Slice Encode(model::ModelOutput output, v1::DataType type,
                   v1::Tensor* tensor) {
  tensor->set_type(type);
  tensor->add_shape(static_cast<int64_t>(output.rows));
  tensor->add_shape(static_cast<int64_t>(output.cols));
  if (type == v1::DATA_TYPE_F16) {
    return Narrowed(output.values, kernels::FloatToFp16);
  }
  if (type == v1::DATA_TYPE_BF16) {
    return Narrowed(output.values, kernels::FloatToBf16);
  }
  return SliceOf(std::move(output.values));
}

}  // namespace octet::rpc
