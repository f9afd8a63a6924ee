#include "server/rpc/oip_tokens.h"

#include <cstring>
#include <string_view>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/rpc/status.h"

namespace octet::rpc::oip {
namespace {

using model::StrCat;

// Integers of either size, at any address.
class Integers {
 public:
  explicit Integers(const InputTensor& tensor)
      : data_(tensor.bytes.data()),
        wide_(tensor.type == model::DataType::kI64) {}

  int64_t operator[](size_t i) const {
    if (!wide_) return Load<int32_t>(i);
    return Load<int64_t>(i);
  }

 private:
  template <typename T>
  T Load(size_t i) const {
    T value;
    std::memcpy(&value, data_ + i * sizeof(T), sizeof(T));
    return value;
  }

  const char* data_;
  bool wide_;
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

absl::Status CheckSameShape(const InputTensor& ids, const InputTensor* other) {
  if (other == nullptr || other->shape == ids.shape) return absl::OkStatus();
  return FieldViolation(
      StrCat(other->name, ".shape"),
      StrCat("is ", model::ShapeString(other->shape), "; ", ids.name, " has ",
             model::ShapeString(ids.shape)));
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
  const InputTensor* mask = Find(inputs, kAttentionMask);
  const InputTensor* types = Find(inputs, kTokenTypeIds);
  RETURN_IF_ERROR(CheckShape(ids));
  RETURN_IF_ERROR(CheckSameShape(ids, mask));
  RETURN_IF_ERROR(CheckSameShape(ids, types));
  PaddedBatch batch;
  batch.sequences = static_cast<size_t>(ids.shape[0]);
  batch.width = static_cast<size_t>(ids.shape[1]);
  batch.input.token_ids.reserve(batch.sequences * batch.width);
  for (size_t row = 0; row < batch.sequences; ++row) {
    size_t length = batch.width;
    if (mask != nullptr) {
      ASSIGN_OR_RETURN(length, LengthOf(Integers(*mask), row, batch.width));
    }
    RETURN_IF_ERROR(
        AddRow(Integers(ids), row, batch.width, length, graph, batch.input));
    if (types != nullptr) {
      RETURN_IF_ERROR(CheckTypes(Integers(*types), row, batch.width, length));
    }
  }
  return batch;
}

std::string PadRows(const model::ModelOutput& rows,
                    absl::Span<const int32_t> lengths, size_t width) {
  const size_t row_bytes = rows.cols * sizeof(float);
  std::string bytes(lengths.size() * width * row_bytes, '\0');
  const auto* from = reinterpret_cast<const char*>(rows.values.data());
  char* to = bytes.data();
  for (const int32_t length : lengths) {
    const size_t size = static_cast<size_t>(length) * row_bytes;
    std::memcpy(to, from, size);
    from += size;
    to += width * row_bytes;
  }
  return bytes;
}

}  // namespace octet::rpc::oip
