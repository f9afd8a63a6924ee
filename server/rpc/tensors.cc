#include "server/rpc/tensors.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "kernels/half.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/model/tensor.h"
#include "server/rpc/status.h"

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
                        size_t element_size) {
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
  if (bytes != tensor.data().size()) {
    return FieldViolation(
        StrCat(field, ".data"),
        StrCat("has ", tensor.data().size(), " bytes; shape ",
               model::ShapeString(extents), " of ",
               v1::DataType_Name(tensor.type()), " takes ", bytes));
  }
  return absl::OkStatus();
}

template <typename Widen>
std::vector<float> Widened(const std::string& data, Widen widen) {
  std::vector<float> values(data.size() / sizeof(uint16_t));
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, data.data() + i * sizeof(bits), sizeof(bits));
    values[i] = widen(bits);
  }
  return values;
}

std::vector<float> Copied(const std::string& data) {
  std::vector<float> values(data.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), data.data(), data.size());
  return values;
}

bool IsAligned(const void* data) {
  return reinterpret_cast<uintptr_t>(data) % alignof(float) == 0;
}

template <typename Narrow>
void EncodeHalf(const std::vector<float>& values, Narrow narrow,
                std::string* data) {
  data->resize(values.size() * sizeof(uint16_t));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = narrow(values[i]);
    std::memcpy(data->data() + i * sizeof(bits), &bits, sizeof(bits));
  }
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

absl::StatusOr<FloatMatrix> FloatMatrix::Decode(std::string_view field,
                                                const v1::Tensor& tensor) {
  ASSIGN_OR_RETURN(const size_t element_size,
                   ElementSize(field, tensor.type()));
  RETURN_IF_ERROR(CheckShape(field, tensor, element_size));
  const std::string& data = tensor.data();
  FloatMatrix matrix;
  const float* values = reinterpret_cast<const float*>(data.data());
  if (tensor.type() != v1::DATA_TYPE_F32 || !IsAligned(data.data())) {
    matrix.widened_ = tensor.type() == v1::DATA_TYPE_F32 ? Copied(data)
                      : tensor.type() == v1::DATA_TYPE_F16
                          ? Widened(data, kernels::Fp16ToFloat)
                          : Widened(data, kernels::Bf16ToFloat);
    values = matrix.widened_.data();  // stays where it is when moved
  }
  matrix.view_ = {values, static_cast<size_t>(tensor.shape(0)),
                  static_cast<size_t>(tensor.shape(1))};
  return matrix;
}

absl::StatusOr<model::ModelInput> DecodeInputs(const v1::ModelInputs& inputs,
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
  if (inputs.has_tokens()) return DecodeTokens(inputs.tokens());

  ASSIGN_OR_RETURN(const FloatMatrix features,
                   FloatMatrix::Decode("features", inputs.features()));
  const kernels::MatrixView<const float> x = features.view();
  if (x.cols != graph.input_width) {
    return FieldViolation("features.shape", StrCat("rows have ", x.cols,
                                                   " columns; the model takes ",
                                                   graph.input_width));
  }
  model::ModelInput input;
  input.features.assign(x.data, x.data + x.rows * x.cols);
  input.feature_rows = x.rows;
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

void Encode(const model::ModelOutput& output, v1::DataType type,
            v1::Tensor* tensor) {
  tensor->set_type(type);
  tensor->add_shape(static_cast<int64_t>(output.rows));
  tensor->add_shape(static_cast<int64_t>(output.cols));
  std::string* data = tensor->mutable_data();
  if (type == v1::DATA_TYPE_F16) {
    EncodeHalf(output.values, kernels::FloatToFp16, data);
  } else if (type == v1::DATA_TYPE_BF16) {
    EncodeHalf(output.values, kernels::FloatToBf16, data);
  } else {
    data->assign(reinterpret_cast<const char*>(output.values.data()),
                 output.values.size() * sizeof(float));
  }
}

}  // namespace octet::rpc
