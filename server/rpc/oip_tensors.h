// Tensors of a ModelInferRequest as bytes, wherever they came from, and those
// of the answer to where they are wanted.
//
// Elements come in raw_input_contents, in typed `contents`, or in shared
// memory; raw contents are those of the inputs that are not in shared memory,
// in their order. A shape is believed only when it agrees with the bytes.

#ifndef OCTET_SERVER_RPC_OIP_TENSORS_H_
#define OCTET_SERVER_RPC_OIP_TENSORS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "google/protobuf/map.h"
#include "inference/grpc_service.pb.h"
#include "kernels/matrix_view.h"
#include "server/model/tensor.h"
#include "server/rpc/oip_model.h"
#include "server/rpc/oip_shared_memory.h"

namespace octet::rpc::oip {

using Parameters =
    google::protobuf::Map<std::string, inference::InferParameter>;

struct InputTensor {
  std::string name;
  model::DataType type = model::DataType::kF32;
  std::vector<int64_t> shape;
  std::string_view bytes;    // in the message, or in `copied`
  std::vector<char> copied;  // of shared memory
};

using InputTensors = std::vector<InputTensor>;

// nullptr when there is none of that name.
const InputTensor* Find(const InputTensors& inputs, std::string_view name);

// The inputs, which are those of `specs`; optional ones may be missing. What
// they refer to lives as long as the message. Errors: INVALID_ARGUMENT naming
// the tensor and what of it is wrong.
absl::StatusOr<InputTensors> ReadInputs(
    const inference::ModelInferRequest& request,
    const std::vector<TensorSpec>& specs, const SharedMemory& memory);

// FP32, FP16 or BF16 of shape [rows, cols], as FP32: read where it is where
// that is possible. `tensor` outlives it.
class FloatRows {
 public:
  static absl::StatusOr<FloatRows> Decode(const InputTensor& tensor);

  kernels::MatrixView<const float> view() const { return view_; }

 private:
  kernels::MatrixView<const float> view_;
  std::vector<float> widened_;
};

// Where an output goes: into the answer, or into a region.
struct OutputPlace {
  std::string name;
  SharedMemory::RegionPtr region;  // nullptr: the answer
  std::string region_name;
  uint64_t offset = 0;
  uint64_t byte_size = 0;
};

// Those that the request names, or all of `specs`. Errors: INVALID_ARGUMENT,
// NOT_FOUND (region).
absl::StatusOr<std::vector<OutputPlace>> ReadOutputs(
    const inference::ModelInferRequest& request,
    const std::vector<TensorSpec>& specs, const SharedMemory& memory);

// Before anything is computed: that so many bytes fit.
absl::Status CheckRoom(const OutputPlace& place, uint64_t bytes);

// Adds the output to the answer; `bytes` are FP32.
absl::Status WriteOutput(const OutputPlace& place,
                         absl::Span<const int64_t> shape, std::string bytes,
                         inference::ModelInferResponse* response);

// A parameter that is a number, of either type; std::nullopt when there is
// none. INVALID_ARGUMENT when it is no number, or negative.
absl::StatusOr<std::optional<uint64_t>> NumberOf(const Parameters& parameters,
                                                 std::string_view key);

}  // namespace octet::rpc::oip

#endif  // OCTET_SERVER_RPC_OIP_TENSORS_H_
