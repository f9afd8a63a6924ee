// Tensors between the wire and the house: little-endian bytes of 16 or 32 bit
// floats on one side, FP32 matrices on the other.
//
// A shape is believed only when it agrees with the bytes that came; nothing is
// allocated on its word.

#ifndef OCTET_SERVER_RPC_TENSORS_H_
#define OCTET_SERVER_RPC_TENSORS_H_

#include <cstddef>
#include <optional>
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

// A matrix that lies on the wire yet, and can be decoded: type, two extents
// and bytes agree. Lives no longer than the bytes.
class WireMatrix {
 public:
  // Errors: INVALID_ARGUMENT naming `field` and what of it is wrong. The bytes
  // are `data`; those in the message do not count.
  static absl::StatusOr<WireMatrix> Check(std::string_view field,
                                          const v1::Tensor& tensor,
                                          const WireBytes& data);

  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  // Rows [first, first + count), as FP32.
  void CopyRows(size_t first, size_t count, float* to) const;

 private:
  v1::DataType type_ = v1::DATA_TYPE_F32;
  size_t rows_ = 0;
  size_t cols_ = 0;
  WireBytes data_;
};

// A matrix that is read where it came, when it is FP32 and aligned, and a
// widened copy otherwise. Lives no longer than the message.
class FloatMatrix {
 public:
  kernels::MatrixView<const float> view() const { return view_; }

  // Errors: those of WireMatrix::Check.
  static absl::StatusOr<FloatMatrix> Decode(std::string_view field,
                                            const v1::Tensor& tensor);

 private:
  kernels::MatrixView<const float> view_;
  kernels::AlignedBuffer own_;
};

// What a whole model takes, of the kind that it takes: tokens, or else features
// that are to be decoded.
struct WireInputs {
  model::ModelInput tokens;
  std::optional<WireMatrix> features;
};

// Fields of errors are those of ModelInputs: "tokens.ids[3]: ...". What fits
// the graph beyond the kind of input and its width is checked by the model.
// `features` are the bytes of features.data, wherever they are.
absl::StatusOr<WireInputs> ReadInputs(const v1::ModelInputs& inputs,
                                      const WireBytes& features,
                                      const model::Graph& graph);
// Of a message that holds all of its bytes.
absl::StatusOr<model::ModelInput> DecodeInputs(const v1::ModelInputs& inputs,
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
