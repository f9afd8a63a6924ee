#include "server/rpc/oip/outputs.h"

#include <string_view>
#include <utility>

#include "kernels/status_macros.h"
#include "server/bundle/io.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/status.h"
#include "server/rpc/wire/message.h"

namespace octet::rpc::oip {
namespace {

using model::StrCat;
using RequestedOutput =
    inference::ModelInferRequest::InferRequestedOutputTensor;

absl::StatusOr<OutputPlace> ReadOutput(const RequestedOutput& output,
                                       const SharedMemory& memory) {
  if (output.parameters().contains("classification")) {
    return FieldViolation(StrCat(output.name(), ".parameters.classification"),
                          "is not there: outputs are no classes");
  }
  absl::StatusOr<RegionPart> part = RegionOf(output.parameters(), memory);
  if (!part.ok()) return InsideField(output.name(), part.status());
  return OutputPlace{output.name(), *std::move(part)};
}

}  // namespace

absl::StatusOr<std::vector<OutputPlace>> ReadOutputs(
    const inference::ModelInferRequest& request,
    const std::vector<TensorSpec>& specs, const SharedMemory& memory) {
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
  for (const TensorSpec& spec : specs) places.emplace_back().name = spec.name;
  return places;
}

absl::Status CheckRoom(const OutputPlace& place, uint64_t bytes) {
  if (place.part.region == nullptr || bytes <= place.part.byte_size) {
    return absl::OkStatus();
  }
  return FieldViolation(StrCat(place.name, ".parameters.", kByteSize),
                        StrCat("is ", place.part.byte_size,
                               "; the output takes ", bytes, " bytes"));
}

absl::Status AddOutput(const OutputPlace& place,
                       absl::Span<const int64_t> shape,
                       kernels::AlignedVector<float> values,
                       InferAnswer* answer) {
  auto* output = answer->fields.add_outputs();
  output->set_name(place.name);
  output->set_datatype("FP32");
  output->mutable_shape()->Add(shape.begin(), shape.end());
  if (place.part.region == nullptr) {
    answer->tensors.push_back(SliceOf(std::move(values)));
    return absl::OkStatus();
  }
  const std::string_view bytes(reinterpret_cast<const char*>(values.data()),
                               values.size() * sizeof(float));
  auto& parameters = *output->mutable_parameters();
  parameters[kRegion].set_string_param(place.part.name);
  parameters[kByteSize].set_int64_param(static_cast<int64_t>(bytes.size()));
  if (place.part.offset > 0) {
    parameters[kOffset].set_int64_param(
        static_cast<int64_t>(place.part.offset));
  }
  answer->tensors.emplace_back();
  return InsideField(place.name,
                     place.part.region->Write(place.part.offset, bytes));
}

}  // namespace octet::rpc::oip
