#include "server/bundle/safetensors_header.h"

#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"
#include "server/bundle/io.h"
#include "server/model/str_cat.h"

namespace octet::bundle {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxInt64 = std::numeric_limits<int64_t>::max();

// The callbacks nlohmann's SAX parser asks for. The grammar is a state per
// nesting level, so that nothing deeper than an entry's arrays is accepted:
//   kTop { name: kTensor { dtype: "..", shape: [kShape], data_offsets:
//   [kOffsets] }, "__metadata__": kMetadata { key: ".." } }
class HeaderReader {
 public:
  SafetensorsHeader header;
  absl::Status status;

  bool null() { return Unexpected("null"); }
  bool boolean(bool) { return Unexpected("a boolean"); }
  bool number_integer(int64_t) { return Unexpected("a negative number"); }
  bool number_float(double, const std::string&) {
    return Unexpected("a number that is no integer");
  }
  bool binary(json::binary_t&) { return Unexpected("binary"); }

  bool number_unsigned(uint64_t value) {
    if (state_ == State::kShape) return AddExtent(value);
    if (state_ == State::kOffsets) return AddOffset(value);
    return Unexpected("a number");
  }

  bool string(std::string& value) {
    if (state_ == State::kMetadata) {
      const bool added = header.metadata.emplace(key_, value).second;
      return added || Fail(model::StrCat("the metadata key ", Quoted(key_),
                                         " occurs twice"));
    }
    if (state_ != State::kTensor || key_ != "dtype") {
      return Unexpected("a string");
    }
    absl::StatusOr<model::DataType> type = model::ParseDataType(value);
    if (!type.ok()) {
      return FailTensor(model::StrCat("the dtype ", Quoted(value),
                                      " is not one this server reads"));
    }
    entry_.type = *type;
    return true;
  }

  bool start_object(size_t) {
    if (state_ == State::kStart) {
      state_ = State::kTop;
      return true;
    }
    if (state_ != State::kTop) return Unexpected("an object");
    if (name_ == "__metadata__") {
      state_ = State::kMetadata;
      return true;
    }
    state_ = State::kTensor;
    entry_ = TensorEntry();
    seen_ = 0;
    return true;
  }

  bool end_object() {
    if (state_ == State::kTop) {
      state_ = State::kDone;
      return true;
    }
    if (state_ == State::kTensor) {
      if (seen_ != kAllFields) {
        return FailTensor("one of dtype, shape and data_offsets is missing");
      }
      header.tensors.emplace(std::move(name_), std::move(entry_));
    }
    state_ = State::kTop;
    return true;
  }

  bool key(std::string& name) {
    if (state_ == State::kTop) return StartTensor(std::move(name));
    key_ = std::move(name);
    if (state_ == State::kMetadata) return true;
    const int field = key_ == "dtype"          ? kDtype
                      : key_ == "shape"        ? kShape
                      : key_ == "data_offsets" ? kOffsets
                                               : 0;
    if (field == 0) {
      return FailTensor(model::StrCat("unknown field ", Quoted(key_)));
    }
    if ((seen_ & field) != 0) {
      return FailTensor(model::StrCat("the field ", key_, " occurs twice"));
    }
    seen_ |= field;
    return true;
  }

  bool start_array(size_t) {
    if (state_ == State::kTensor && key_ == "shape") {
      state_ = State::kShape;
      return true;
    }
    if (state_ == State::kTensor && key_ == "data_offsets") {
      state_ = State::kOffsets;
      offsets_ = 0;
      return true;
    }
    return Unexpected("an array");
  }

  bool end_array() {
    if (state_ == State::kOffsets && offsets_ != 2) {
      return FailTensor("data_offsets must be [begin, end]");
    }
    state_ = State::kTensor;
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const json::exception&) {
    return Fail(model::StrCat("not JSON at byte ", position));
  }

 private:
  enum class State {
    kStart,
    kTop,
    kTensor,
    kShape,
    kOffsets,
    kMetadata,
    kDone
  };
  enum Field { kDtype = 1, kShape = 2, kOffsets = 4, kAllFields = 7 };

  bool StartTensor(std::string name) {
    name_ = std::move(name);
    if (name_.empty()) return Fail("a tensor has an empty name");
    if (name_.size() > kMaxTensorName) {
      return FailTensor(model::StrCat("the name has ", name_.size(),
                                      " bytes; at most ", kMaxTensorName));
    }
    if (name_ == "__metadata__") {
      return !std::exchange(has_metadata_, true) ||
             Fail("the key '__metadata__' occurs twice");
    }
    return !header.tensors.contains(name_) || FailTensor("it occurs twice");
  }

  bool AddExtent(uint64_t value) {
    if (value > kMaxInt64) {
      return FailTensor(model::StrCat("the extent ", value, " is too large"));
    }
    if (entry_.shape.size() == kMaxTensorRank) {
      return FailTensor(
          model::StrCat("more than ", kMaxTensorRank, " dimensions"));
    }
    entry_.shape.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool AddOffset(uint64_t value) {
    if (offsets_ == 2) return FailTensor("data_offsets must be [begin, end]");
    (offsets_++ == 0 ? entry_.begin : entry_.end) = value;
    return true;
  }

  bool Unexpected(std::string_view what) {
    switch (state_) {
      case State::kStart:
      case State::kDone:
        return Fail(model::StrCat("an object is expected, not ", what));
      case State::kMetadata:
        return Fail(model::StrCat("the metadata ", Quoted(key_),
                                  " must be a string, not ", what));
      case State::kTop:
        return FailTensor(model::StrCat("an object is expected, not ", what));
      default:
        return FailTensor(model::StrCat(key_, " can not hold ", what));
    }
  }

  bool FailTensor(std::string_view problem) {
    return Fail(model::StrCat("tensor ", Quoted(name_), ": ", problem));
  }

  bool Fail(std::string_view problem) {
    status = absl::InvalidArgumentError(
        model::StrCat("safetensors header: ", problem));
    return false;
  }

  State state_ = State::kStart;
  std::string name_;  // of the tensor being read
  std::string key_;   // inside of it, or of the metadata
  TensorEntry entry_;
  int seen_ = 0;  // Field bits
  int offsets_ = 0;
  bool has_metadata_ = false;
};

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    std::string_view json_text) {
  if (json_text.empty() || json_text.front() != '{') {
    return absl::InvalidArgumentError(
        "safetensors header: it must begin with '{'");
  }
  HeaderReader reader;
  json::sax_parse(json_text, &reader);
  RETURN_IF_ERROR(reader.status);
  return std::move(reader.header);
}

absl::StatusOr<uint64_t> TensorBytes(std::string_view name,
                                     model::DataType type,
                                     const std::vector<int64_t>& shape) {
  uint64_t bytes = model::SizeOf(type);
  for (const int64_t extent : shape) {
    if (extent < 0) {
      return absl::InvalidArgumentError(
          model::StrCat("tensor ", Quoted(name), ": the shape ",
                        model::ShapeString(shape), " is negative"));
    }
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes) ||
        bytes > kMaxInt64) {
      return absl::InvalidArgumentError(
          model::StrCat("tensor ", Quoted(name), ": the shape ",
                        model::ShapeString(shape), " overflows"));
    }
  }
  return bytes;
}

}  // namespace octet::bundle
