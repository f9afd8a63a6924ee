// Tensors of a ModelInferRequest, wherever their elements are: in
// raw_input_contents, in typed `contents`, or in shared memory. Raw contents
// are those of the inputs that are not in shared memory, in their order.
//
// A shape is believed only when it agrees with the bytes; nothing is allocated
// on its word. Elements are copied once, to where they are computed from.

#ifndef OCTET_SERVER_RPC_OIP_INPUTS_H_
#define OCTET_SERVER_RPC_OIP_INPUTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "inference/grpc_service.pb.h"
#include "server/model/tensor.h"
#include "server/rpc/oip/model.h"
#include "server/rpc/oip/parameters.h"
#include "server/rpc/oip/shared_memory.h"
#include "server/rpc/wire/message.h"

namespace octet::rpc::oip {

struct InputTensor {
  std::string name;
  model::DataType type = model::DataType::kF32;
  std::vector<int64_t> shape;
  size_t bytes = 0;  // product of the shape times the size of the type
  std::variant<std::string_view, WireBytes, RegionPart> elements;

  // All of them, to `bytes` bytes at `to`. INVALID_ARGUMENT when shared memory
  // has become smaller.
  absl::Status CopyTo(void* to) const { return CopyTo(to, 0, bytes); }
  // Elements [first, first + count) of FP32, FP16 or BF16, as FP32.
  absl::Status CopyFloatsTo(float* to, size_t first, size_t count) const;

 private:
  // `size` bytes from `offset` on.
  absl::Status CopyTo(void* to, size_t offset, size_t size) const;
};

using InputTensors = std::vector<InputTensor>;

// nullptr when there is none of that name.
const InputTensor* Find(const InputTensors& inputs, std::string_view name);

// The inputs, which are those of `specs`; optional ones may be missing. What
// they refer to lives as long as `request` stays where it is. Errors:
// INVALID_ARGUMENT naming the tensor and what of it is wrong.
absl::StatusOr<InputTensors> ReadInputs(
    const Received<inference::ModelInferRequest>& request,
    const std::vector<TensorSpec>& specs, const SharedMemory& memory);

}  // namespace octet::rpc::oip

#endif  // OCTET_SERVER_RPC_OIP_INPUTS_H_
