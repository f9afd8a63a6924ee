#include "server/rpc/oip/inputs.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/types/span.h"
#include "kernels/half.h"
#include "kernels/status_macros.h"
#include "server/bundle/io.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/status.h"

namespace octet::rpc::oip {
namespace {

using inference::InferTensorContents;
using inference::ModelInferRequest;
using model::DataType;
using model::StrCat;
using RequestInput = ModelInferRequest::InferInputTensor;

constexpr std::array<std::pair<std::string_view, DataType>, 5> kTypes = {{
    {"INT32", DataType::kI32},
    {"INT64", DataType::kI64},
    {"FP16", DataType::kF16},
    {"BF16", DataType::kBF16},
    {"FP32", DataType::kF32},
}};

// What a tensor of this kind may be.
absl::StatusOr<DataType> ParseType(const TensorSpec& spec,
                                   std::string_view datatype) {
  const bool integers = spec.datatype == "INT64";
  for (const auto& [name, type] : kTypes) {
    if (name == datatype && model::IsFloat(type) != integers) return type;
  }
  return FieldViolation(
      StrCat(spec.name, ".datatype"),
      StrCat("is ", bundle::Quoted(datatype), "; must be ",
             integers ? "INT64 or INT32" : "FP32, FP16 or BF16"));
}

template <typename T>
std::string_view Bytes(const google::protobuf::RepeatedField<T>& field) {
  return {reinterpret_cast<const char*>(field.data()),
          static_cast<size_t>(field.size()) * sizeof(T)};
}

absl::StatusOr<std::string_view> TypedBytes(
    const InputTensor& tensor, const InferTensorContents& contents) {
  switch (tensor.type) {
    case DataType::kI32:
      return Bytes(contents.int_contents());
    case DataType::kI64:
      return Bytes(contents.int64_contents());
    case DataType::kF32:
      return Bytes(contents.fp32_contents());
    default:
      return FieldViolation(
          StrCat(tensor.name, ".contents"),
          "has no field for 16-bit floats; use raw_input_contents");
  }
}

// Sets the tensor's bytes from its shape, which must take those that came.
absl::Status SetBytes(InputTensor& tensor, std::string_view field, size_t has) {
  uint64_t bytes = model::SizeOf(tensor.type);
  for (const int64_t extent : tensor.shape) {
    if (extent < 0 ||
        __builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes)) {
      return FieldViolation(
          StrCat(tensor.name, ".shape"),
          StrCat(model::ShapeString(tensor.shape),
                 extent < 0 ? " has a negative extent" : " overflows"));
    }
  }
  tensor.bytes = bytes;
  if (bytes == has) return absl::OkStatus();
  return FieldViolation(
      StrCat(tensor.name, field),
      StrCat("has ", has, " bytes; shape ", model::ShapeString(tensor.shape),
             " takes ", bytes));
}

// The inputs one by one, with the raw contents that are left.
class InputReader {
 public:
  InputReader(const std::vector<WireBytes>& raw, const SharedMemory& memory)
      : raw_(raw), memory_(memory) {}

  absl::StatusOr<InputTensor> Read(const RequestInput& input,
                                   const TensorSpec& spec) {
    InputTensor tensor;
    tensor.name = spec.name;
    tensor.shape.assign(input.shape().begin(), input.shape().end());
    ASSIGN_OR_RETURN(tensor.type, ParseType(spec, input.datatype()));
    absl::StatusOr<RegionPart> part = RegionOf(input.parameters(), memory_);
    if (!part.ok()) return InsideField(tensor.name, part.status());
    if ((!raw_.empty() || part->region != nullptr) && input.has_contents()) {
      return FieldViolation(
          StrCat(tensor.name, ".contents"),
          "must be empty beside raw_input_contents or shared memory");
    }
    if (part->region != nullptr) {
      RETURN_IF_ERROR(
          SetBytes(tensor, StrCat(".parameters.", kByteSize), part->byte_size));
      tensor.elements = *std::move(part);
    } else if (raw_.empty()) {
      ASSIGN_OR_RETURN(const std::string_view bytes,
                       TypedBytes(tensor, input.contents()));
      RETURN_IF_ERROR(SetBytes(tensor, "", bytes.size()));
      tensor.elements = bytes;
    } else {
      RETURN_IF_ERROR(TakeRaw(tensor));
    }
    return tensor;
  }

  absl::Status CheckNothingLeft() const {
    if (next_ == raw_.size()) return absl::OkStatus();
    return FieldViolation(
        "raw_input_contents",
        StrCat("has ", raw_.size(), " entries; ", next_,
               " inputs are neither in shared memory nor elsewhere"));
  }

 private:
  absl::Status TakeRaw(InputTensor& tensor) {
    if (next_ == raw_.size()) {
      return FieldViolation(
          "raw_input_contents",
          StrCat("has ", next_, " entries; none is left for ", tensor.name));
    }
    const WireBytes& bytes = raw_[next_++];
    RETURN_IF_ERROR(SetBytes(tensor, "", bytes.size()));
    tensor.elements = bytes;
    return absl::OkStatus();
  }

  const std::vector<WireBytes>& raw_;
  const SharedMemory& memory_;
  size_t next_ = 0;
};

absl::Status CheckAllThere(const InputTensors& inputs,
                           const std::vector<TensorSpec>& specs) {
  for (const TensorSpec& spec : specs) {
    if (spec.optional || Find(inputs, spec.name) != nullptr) continue;
    return FieldViolation("inputs", StrCat(spec.name, " is missing"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status InputTensor::CopyTo(void* to, size_t offset, size_t size) const {
  if (const auto* typed = std::get_if<std::string_view>(&elements)) {
    if (size > 0) std::memcpy(to, typed->data() + offset, size);
  } else if (const auto* raw = std::get_if<WireBytes>(&elements)) {
    raw->Part(offset, size).CopyTo(to);
  } else {
    const auto& part = std::get<RegionPart>(elements);
    return InsideField(
        name, part.region->Read(part.offset + offset,
                                absl::MakeSpan(static_cast<char*>(to), size)));
  }
  return absl::OkStatus();
}

absl::Status InputTensor::CopyFloatsTo(float* to, size_t first,
                                       size_t count) const {
  const size_t size = model::SizeOf(type);
  if (type == DataType::kF32) return CopyTo(to, first * size, count * size);
  const auto widen =
      type == DataType::kF16 ? kernels::Fp16ToFloat : kernels::Bf16ToFloat;
  // Widened while they are in cache.
  std::array<uint16_t, 4096> halves;
  for (size_t done = 0; done < count;) {
    const size_t now = std::min(count - done, halves.size());
    RETURN_IF_ERROR(CopyTo(halves.data(), (first + done) * size, now * size));
    for (size_t i = 0; i < now; ++i) to[done + i] = widen(halves[i]);
    done += now;
  }
  return absl::OkStatus();
}

const InputTensor* Find(const InputTensors& inputs, std::string_view name) {
  for (const InputTensor& input : inputs) {
    if (input.name == name) return &input;
  }
  return nullptr;
}

absl::StatusOr<InputTensors> ReadInputs(
    const Received<ModelInferRequest>& request,
    const std::vector<TensorSpec>& specs, const SharedMemory& memory) {
  InputReader reader(request.bytes.tensors(), memory);
  InputTensors inputs;
  for (int i = 0; i < request.fields.inputs_size(); ++i) {
    const RequestInput& input = request.fields.inputs(i);
    const std::string field = StrCat("inputs[", i, "].name");
    const TensorSpec* spec = FindSpec(specs, input.name());
    if (spec == nullptr) {
      return FieldViolation(
          field, StrCat(bundle::Quoted(input.name()),
                        " is no input of the model; it takes ", Names(specs)));
    }
    if (Find(inputs, input.name()) != nullptr) {
      return FieldViolation(field, StrCat(spec->name, " came before"));
    }
    ASSIGN_OR_RETURN(InputTensor tensor, reader.Read(input, *spec));
    inputs.push_back(std::move(tensor));
  }
  RETURN_IF_ERROR(CheckAllThere(inputs, specs));
  RETURN_IF_ERROR(reader.CheckNothingLeft());
  return inputs;
}

}  // namespace octet::rpc::oip
