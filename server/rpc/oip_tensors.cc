#include "server/rpc/oip_tensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_join.h"
#include "kernels/half.h"
#include "kernels/status_macros.h"
#include "server/bundle/io.h"
#include "server/model/str_cat.h"
#include "server/rpc/status.h"

namespace octet::rpc::oip {
namespace {

using inference::InferTensorContents;
using inference::ModelInferRequest;
using model::DataType;
using model::StrCat;
using RequestedOutput = ModelInferRequest::InferRequestedOutputTensor;
using RequestInput = ModelInferRequest::InferInputTensor;

constexpr std::string_view kRegion = "shared_memory_region";
constexpr std::string_view kByteSize = "shared_memory_byte_size";
constexpr std::string_view kOffset = "shared_memory_offset";

// gRPC's messages end at 2 GiB; some of it is for what goes with the tensor.
constexpr uint64_t kMaxAnswerBytes =
    std::numeric_limits<int32_t>::max() - (uint64_t{1} << 20);

constexpr std::array<std::pair<std::string_view, DataType>, 5> kTypes = {{
    {"INT32", DataType::kI32},
    {"INT64", DataType::kI64},
    {"FP16", DataType::kF16},
    {"BF16", DataType::kBF16},
    {"FP32", DataType::kF32},
}};

std::string Names(const std::vector<TensorSpec>& specs) {
  if (specs.empty()) return "none; name a layer: MODEL.LAYER";
  return absl::StrJoin(specs, ", ", [](std::string* out, const auto& spec) {
    out->append(spec.name);
  });
}

const TensorSpec* FindSpec(const std::vector<TensorSpec>& specs,
                           std::string_view name) {
  for (const TensorSpec& spec : specs) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

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

absl::StatusOr<uint64_t> BytesOf(const InputTensor& tensor) {
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
  return bytes;
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

absl::Status CheckSize(const InputTensor& tensor, std::string_view field,
                       uint64_t has) {
  ASSIGN_OR_RETURN(const uint64_t bytes, BytesOf(tensor));
  if (bytes == has) return absl::OkStatus();
  return FieldViolation(
      StrCat(tensor.name, field),
      StrCat("has ", has, " bytes; shape ", model::ShapeString(tensor.shape),
             " takes ", bytes));
}

// A region, and which part of it.
struct RegionPart {
  std::string name;
  SharedMemory::RegionPtr region;  // nullptr: none is named
  uint64_t offset = 0;
  uint64_t byte_size = 0;
};

absl::StatusOr<RegionPart> RegionOf(const Parameters& parameters,
                                    const SharedMemory& memory) {
  RegionPart part;
  const auto found = parameters.find(std::string(kRegion));
  if (found == parameters.end()) return part;
  part.name = found->second.string_param();
  ASSIGN_OR_RETURN(part.region, memory.Find(part.name));
  ASSIGN_OR_RETURN(const auto size, NumberOf(parameters, kByteSize));
  ASSIGN_OR_RETURN(const auto offset, NumberOf(parameters, kOffset));
  if (!size) {
    return FieldViolation(StrCat("parameters.", kByteSize), "is missing");
  }
  part.byte_size = *size;
  part.offset = offset.value_or(0);
  RETURN_IF_ERROR(part.region->CheckRange(part.offset, part.byte_size));
  return part;
}

absl::Status ReadRegion(const RegionPart& part, InputTensor& tensor) {
  RETURN_IF_ERROR(
      CheckSize(tensor, StrCat(".parameters.", kByteSize), part.byte_size));
  tensor.copied.resize(part.byte_size);
  tensor.bytes = {tensor.copied.data(), tensor.copied.size()};
  return InsideField(
      tensor.name,
      part.region->Read(part.offset, absl::MakeSpan(tensor.copied)));
}

// The inputs one by one, with the raw contents that are left.
class InputReader {
 public:
  InputReader(const ModelInferRequest& request, const SharedMemory& memory)
      : request_(request),
        memory_(memory),
        raw_(request.raw_input_contents_size() > 0) {}

  absl::StatusOr<InputTensor> Read(const RequestInput& input,
                                   const TensorSpec& spec) {
    InputTensor tensor;
    tensor.name = spec.name;
    tensor.shape.assign(input.shape().begin(), input.shape().end());
    ASSIGN_OR_RETURN(tensor.type, ParseType(spec, input.datatype()));
    absl::StatusOr<RegionPart> part = RegionOf(input.parameters(), memory_);
    if (!part.ok()) return InsideField(tensor.name, part.status());
    if ((raw_ || part->region != nullptr) && input.has_contents()) {
      return FieldViolation(
          StrCat(tensor.name, ".contents"),
          "must be empty beside raw_input_contents or shared memory");
    }
    if (part->region != nullptr) {
      RETURN_IF_ERROR(ReadRegion(*part, tensor));
      return tensor;
    }
    ASSIGN_OR_RETURN(tensor.bytes, raw_ ? NextRaw(tensor)
                                        : TypedBytes(tensor, input.contents()));
    RETURN_IF_ERROR(CheckSize(tensor, "", tensor.bytes.size()));
    return tensor;
  }

  absl::Status CheckNothingLeft() const {
    if (next_ == request_.raw_input_contents_size()) return absl::OkStatus();
    return FieldViolation(
        "raw_input_contents",
        StrCat("has ", request_.raw_input_contents_size(), " entries; ", next_,
               " inputs are neither in shared memory nor elsewhere"));
  }

 private:
  absl::StatusOr<std::string_view> NextRaw(const InputTensor& tensor) {
    if (next_ < request_.raw_input_contents_size()) {
      return std::string_view(request_.raw_input_contents(next_++));
    }
    return FieldViolation(
        "raw_input_contents",
        StrCat("has ", next_, " entries; none is left for ", tensor.name));
  }

  const ModelInferRequest& request_;
  const SharedMemory& memory_;
  const bool raw_;
  int next_ = 0;
};

absl::Status CheckAllThere(const InputTensors& inputs,
                           const std::vector<TensorSpec>& specs) {
  for (const TensorSpec& spec : specs) {
    if (spec.optional || Find(inputs, spec.name) != nullptr) continue;
    return FieldViolation("inputs", StrCat(spec.name, " is missing"));
  }
  return absl::OkStatus();
}

absl::StatusOr<OutputPlace> ReadOutput(const RequestedOutput& output,
                                       const SharedMemory& memory) {
  if (output.parameters().contains("classification")) {
    return FieldViolation(StrCat(output.name(), ".parameters.classification"),
                          "is not there: outputs are no classes");
  }
  absl::StatusOr<RegionPart> part = RegionOf(output.parameters(), memory);
  if (!part.ok()) return InsideField(output.name(), part.status());
  return OutputPlace{output.name(), std::move(part->region),
                     std::move(part->name), part->offset, part->byte_size};
}

template <typename Convert>
std::vector<float> Converted(std::string_view bytes, Convert convert) {
  std::vector<float> values(bytes.size() / sizeof(uint16_t));
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes.data() + i * sizeof(bits), sizeof(bits));
    values[i] = convert(bits);
  }
  return values;
}

std::vector<float> Copied(std::string_view bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

bool IsAligned(const void* data) {
  return reinterpret_cast<uintptr_t>(data) % alignof(float) == 0;
}

}  // namespace

const InputTensor* Find(const InputTensors& inputs, std::string_view name) {
  for (const InputTensor& input : inputs) {
    if (input.name == name) return &input;
  }
  return nullptr;
}

absl::StatusOr<InputTensors> ReadInputs(const ModelInferRequest& request,
                                        const std::vector<TensorSpec>& specs,
                                        const SharedMemory& memory) {
  InputReader reader(request, memory);
  InputTensors inputs;
  for (int i = 0; i < request.inputs_size(); ++i) {
    const RequestInput& input = request.inputs(i);
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

absl::StatusOr<FloatRows> FloatRows::Decode(const InputTensor& tensor) {
  if (tensor.shape.size() != 2) {
    return FieldViolation(StrCat(tensor.name, ".shape"),
                          StrCat("is ", model::ShapeString(tensor.shape),
                                 "; must be [rows, columns]"));
  }
  FloatRows rows;
  const auto* values = reinterpret_cast<const float*>(tensor.bytes.data());
  if (tensor.type == DataType::kF16) {
    rows.widened_ = Converted(tensor.bytes, kernels::Fp16ToFloat);
  } else if (tensor.type == DataType::kBF16) {
    rows.widened_ = Converted(tensor.bytes, kernels::Bf16ToFloat);
  } else if (!IsAligned(values)) {
    rows.widened_ = Copied(tensor.bytes);
  }
  if (!rows.widened_.empty()) values = rows.widened_.data();
  rows.view_ = {values, static_cast<size_t>(tensor.shape[0]),
                static_cast<size_t>(tensor.shape[1])};
  return rows;
}

absl::StatusOr<std::vector<OutputPlace>> ReadOutputs(
    const ModelInferRequest& request, const std::vector<TensorSpec>& specs,
    const SharedMemory& memory) {
  std::vector<OutputPlace> places;
  for (int i = 0; i < request.outputs_size(); ++i) {
    const RequestedOutput& output = request.outputs(i);
    const std::string field = StrCat("outputs[", i, "].name");
    if (FindSpec(specs, output.name()) == nullptr) {
      return FieldViolation(
          field, StrCat(bundle::Quoted(output.name()),
                        " is no output of the model; it gives ", Names(specs)));
    }
    for (const OutputPlace& before : places) {
      if (before.name == output.name()) {
        return FieldViolation(field, StrCat(output.name(), " came before"));
      }
    }
    ASSIGN_OR_RETURN(OutputPlace place, ReadOutput(output, memory));
    places.push_back(std::move(place));
  }
  if (!places.empty()) return places;
  for (const TensorSpec& spec : specs) {
    places.emplace_back().name = spec.name;
  }
  return places;
}

absl::Status CheckRoom(const OutputPlace& place, uint64_t bytes) {
  if (place.region == nullptr) {
    if (bytes <= kMaxAnswerBytes) return absl::OkStatus();
    return FieldViolation(
        StrCat("outputs.", place.name),
        StrCat("would take ", bytes, " bytes; an answer has at most ",
               kMaxAnswerBytes, ": ask for less at once"));
  }
  if (bytes <= place.byte_size) return absl::OkStatus();
  return FieldViolation(
      StrCat(place.name, ".parameters.", kByteSize),
      StrCat("is ", place.byte_size, "; the output takes ", bytes, " bytes"));
}

absl::Status WriteOutput(const OutputPlace& place,
                         absl::Span<const int64_t> shape, std::string bytes,
                         inference::ModelInferResponse* response) {
  auto* output = response->add_outputs();
  output->set_name(place.name);
  output->set_datatype("FP32");
  output->mutable_shape()->Add(shape.begin(), shape.end());
  std::string* raw = response->add_raw_output_contents();
  if (place.region == nullptr) {
    *raw = std::move(bytes);
    return absl::OkStatus();
  }
  auto& parameters = *output->mutable_parameters();
  parameters[std::string(kRegion)].set_string_param(place.region_name);
  parameters[std::string(kByteSize)].set_int64_param(
      static_cast<int64_t>(bytes.size()));
  if (place.offset > 0) {
    parameters[std::string(kOffset)].set_int64_param(
        static_cast<int64_t>(place.offset));
  }
  return InsideField(place.name, place.region->Write(place.offset, bytes));
}

absl::StatusOr<std::optional<uint64_t>> NumberOf(const Parameters& parameters,
                                                 std::string_view key) {
  const auto found = parameters.find(std::string(key));
  if (found == parameters.end()) return std::nullopt;
  const inference::InferParameter& value = found->second;
  if (value.parameter_choice_case() ==
      inference::InferParameter::kUint64Param) {
    return value.uint64_param();
  }
  const std::string field = StrCat("parameters.", key);
  if (value.parameter_choice_case() != inference::InferParameter::kInt64Param) {
    return FieldViolation(field, "must be a whole number");
  }
  if (value.int64_param() < 0) {
    return FieldViolation(
        field, StrCat("is ", value.int64_param(), "; it must not be negative"));
  }
  return static_cast<uint64_t>(value.int64_param());
}

}  // namespace octet::rpc::oip
