#include "server/rpc/oip/padding.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/status.h"

namespace octet::rpc::oip {
namespace {

using model::StrCat;

// A copy of integers of either size.
class Integers {
 public:
  static absl::StatusOr<Integers> Read(const InputTensor& tensor) {
    Integers integers;
    integers.wide_ = tensor.type == model::DataType::kI64;
    integers.data_.resize((tensor.bytes + sizeof(int64_t) - 1) /
                          sizeof(int64_t));
    RETURN_IF_ERROR(tensor.CopyTo(integers.data_.data()));
    return integers;
  }

  int64_t operator[](size_t i) const {
    return wide_ ? Load<int64_t>(i) : Load<int32_t>(i);
  }

 private:
  template <typename T>
  T Load(size_t i) const {
    T value;
    std::memcpy(&value, reinterpret_cast<const T*>(data_.data()) + i,
                sizeof(T));
    return value;
  }

  std::vector<int64_t> data_;
  bool wide_ = false;
};

std::string At(std::string_view name, size_t row, size_t column) {
  return StrCat(name, "[", row, "][", column, "]");
}

absl::Status CheckShape(const InputTensor& ids) {
  const std::string field = StrCat(ids.name, ".shape");
  if (ids.shape.size() != 2 || ids.shape[0] < 1 || ids.shape[1] < 1) {
    return FieldViolation(
        field, StrCat("is ", model::ShapeString(ids.shape),
                      "; must be [sequences, tokens], each at least 1"));
  }
  if (ids.shape[0] > kMaxBatch) {
    return FieldViolation(
        field, StrCat("has ", ids.shape[0],
                      " sequences; a request has at most ", kMaxBatch));
  }
  return absl::OkStatus();
}

// An optional tensor of the shape of the ids.
absl::StatusOr<std::optional<Integers>> ReadBeside(const InputTensor& ids,
                                                   const InputTensors& inputs,
                                                   std::string_view name) {
  const InputTensor* other = Find(inputs, name);
  if (other == nullptr) return std::nullopt;
  if (other->shape != ids.shape) {
    return FieldViolation(
        StrCat(name, ".shape"),
        StrCat("is ", model::ShapeString(other->shape), "; ", ids.name, " has ",
               model::ShapeString(ids.shape)));
  }
  ASSIGN_OR_RETURN(Integers values, Integers::Read(*other));
  return values;
}

// Tokens before the padding of a row.
absl::StatusOr<size_t> LengthOf(const Integers& mask, size_t row,
                                size_t width) {
  size_t length = 0;
  for (size_t i = 0; i < width; ++i) {
    const int64_t value = mask[row * width + i];
    if (value != 0 && value != 1) {
      return FieldViolation(At(kAttentionMask, row, i),
                            StrCat("is ", value, "; must be 0 or 1"));
    }
    if (value == 0) continue;
    if (length != i) {
      return FieldViolation(At(kAttentionMask, row, i),
                            "is 1 after a 0; padding must be at the end");
    }
    ++length;
  }
  if (length > 0) return length;
  return FieldViolation(StrCat(kAttentionMask, "[", row, "]"),
                        "is all 0; a sequence has at least one token");
}

absl::Status AddRow(const Integers& ids, size_t row, size_t width,
                    size_t length, const model::Graph& graph,
                    model::ModelInput& input) {
  if (length > graph.max_positions) {
    return FieldViolation(
        StrCat(kInputIds, "[", row, "]"),
        StrCat("has ", length, " tokens; the model takes at most ",
               graph.max_positions));
  }
  for (size_t i = 0; i < length; ++i) {
    const int64_t id = ids[row * width + i];
    if (id < 0 || static_cast<uint64_t>(id) >= graph.vocabulary) {
      return FieldViolation(
          At(kInputIds, row, i),
          StrCat("is ", id, "; the vocabulary has ids from 0 to ",
                 graph.vocabulary - 1));
    }
    input.token_ids.push_back(static_cast<int32_t>(id));
  }
  input.lengths.push_back(static_cast<int32_t>(length));
  return absl::OkStatus();
}

absl::Status CheckTypes(const Integers& types, size_t row, size_t width,
                        size_t length) {
  for (size_t i = 0; i < length; ++i) {
    const int64_t type = types[row * width + i];
    if (type == 0) continue;
    return FieldViolation(
        At(kTokenTypeIds, row, i),
        StrCat("is ", type, "; models are served with type 0 alone"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PaddedBatch> DecodeTokens(const InputTensors& inputs,
                                         const model::Graph& graph) {
  const InputTensor& ids = *Find(inputs, kInputIds);
  RETURN_IF_ERROR(CheckShape(ids));
  PaddedBatch batch;
  batch.sequences = static_cast<size_t>(ids.shape[0]);
  batch.width = static_cast<size_t>(ids.shape[1]);
  ASSIGN_OR_RETURN(const Integers values, Integers::Read(ids));
  ASSIGN_OR_RETURN(const auto mask, ReadBeside(ids, inputs, kAttentionMask));
  ASSIGN_OR_RETURN(const auto types, ReadBeside(ids, inputs, kTokenTypeIds));
  batch.input.token_ids.reserve(batch.sequences * batch.width);
  for (size_t row = 0; row < batch.sequences; ++row) {
    size_t length = batch.width;
    if (mask) {
      ASSIGN_OR_RETURN(length, LengthOf(*mask, row, batch.width));
    }
    RETURN_IF_ERROR(
        AddRow(values, row, batch.width, length, graph, batch.input));
    if (types) {
      RETURN_IF_ERROR(CheckTypes(*types, row, batch.width, length));
    }
  }
  return batch;
}

kernels::AlignedVector<float> PadRows(model::ModelOutput rows,
                                      absl::Span<const int32_t> lengths,
                                      size_t width) {
  if (rows.rows == lengths.size() * width) return std::move(rows.values);
  kernels::AlignedVector<float> padded(lengths.size() * width * rows.cols,
                                       0.0F);
  const float* from = rows.values.data();
  float* to = padded.data();
  for (const int32_t length : lengths) {
    const size_t size = static_cast<size_t>(length) * rows.cols;
    std::copy_n(from, size, to);
    from += size;
    to += width * rows.cols;
  }
  return padded;
}

}  // namespace octet::rpc::oip
