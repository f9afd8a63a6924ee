// Tensors between the wire and the house: little-endian bytes of 16 or 32 bit
// floats on one side, FP32 matrices on the other.
//
// A shape is believed only when it agrees with the bytes that came; nothing is
// allocated on its word.

#ifndef OCTET_SERVER_RPC_TENSORS_H_
#define OCTET_SERVER_RPC_TENSORS_H_

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/support/slice.h"
#include "kernels/aligned_buffer.h"
#include "kernels/matrix_view.h"
#include "octet/v1/tensor.pb.h"
#include "server/model/graph.h"
#include "server/model/model.h"
#include "server/rpc/wire/chunks.h"

namespace octet::rpc {

// A matrix that is read where it came, when it is FP32 and aligned, and a
// widened copy otherwise. Lives no longer than the message.
class FloatMatrix {
 public:
  kernels::MatrixView<const float> view() const { return view_; }

  // Errors: INVALID_ARGUMENT naming `field` and what of it is wrong: type, two
  // extents, a byte count that is not product(shape) * sizeof(type).
  static absl::StatusOr<FloatMatrix> Decode(std::string_view field,
                                            const v1::Tensor& tensor);
  // The same of a tensor whose data is not in the message: one copy, into
  // memory of its own, aligned as kernels like it.
  static absl::StatusOr<FloatMatrix> Decode(std::string_view field,
                                            const v1::Tensor& tensor,
                                            const WireBytes& data);

 private:
  kernels::MatrixView<const float> view_;
  kernels::AlignedBuffer own_;
};

// Fields of errors are those of ModelInputs: "tokens.ids[3]: ...". What fits
// the graph beyond the kind of input is checked by the model.
absl::StatusOr<model::ModelInput> DecodeInputs(const v1::ModelInputs& inputs,
                                               const model::Graph& graph);
// Where features.data is not in the message.
absl::StatusOr<model::ModelInput> DecodeInputs(const v1::ModelInputs& inputs,
                                               const WireBytes& features,
                                               const model::Graph& graph);

// The type of an answer: F32 unless asked for. INVALID_ARGUMENT for others
// than F32, F16 and BF16.
absl::StatusOr<v1::DataType> OutputType(v1::DataType asked);

// Sets type and shape of `tensor`. Its data are the slice: the output's own
// memory, unless they are narrowed.
grpc::Slice Encode(model::ModelOutput output, v1::DataType type,
                   v1::Tensor* tensor);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_TENSORS_H_
