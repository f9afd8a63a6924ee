// Forward and MatMul on loaded models.

#ifndef OCTET_CLIENT_LIB_INFERENCE_H_
#define OCTET_CLIENT_LIB_INFERENCE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "client/lib/connection.h"
#include "grpcpp/support/sync_stream.h"

namespace octet::client {

// A dense row-major float matrix.
struct Matrix {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<float> values;
};

// `request.model` may be a bare id.
absl::StatusOr<v1::ForwardResponse> Forward(Connection& connection,
                                            v1::ForwardRequest request);
absl::StatusOr<v1::MatMulResponse> MatMul(Connection& connection,
                                          v1::MatMulRequest request);

// Many products over one stream: the server works on several at a time, and
// answers in the order of the requests.
//
//   MatMulStream stream(connection);
//   std::thread sender([&] {
//     for (...) if (!stream.Send(request)) break;
//     stream.SendingDone();
//   });
//   absl::StatusOr<v1::MatMulResponse> response;
//   while (stream.Receive(&response)) { ... }
//   absl::Status end = stream.Finish();
//
// One thread may send while another one receives. A client of one thread must
// not send more than 32 requests, or 64 MiB of them, ahead of what it received:
// the server takes no more, and Send would wait for ever.
class MatMulStream {
 public:
  explicit MatMulStream(Connection& connection);

  // False when the stream is broken; Finish says why. `request.model` may be a
  // bare id.
  bool Send(v1::MatMulRequest request);
  void SendingDone();
  // The next answer: a response, or why that request has none. False after the
  // last one.
  bool Receive(absl::StatusOr<v1::MatMulResponse>* response);
  // When all was received. Not OK when the stream broke.
  absl::Status Finish();

 private:
  Call call_;
  const std::unique_ptr<grpc::ClientReaderWriter<v1::StreamMatMulRequest,
                                                 v1::StreamMatMulResponse>>
      stream_;
};

v1::Tensor ToTensor(const Matrix& matrix);
// DATA_LOSS unless it is F32, two-dimensional and has the bytes of its shape.
absl::StatusOr<Matrix> ToMatrix(const v1::Tensor& tensor);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_INFERENCE_H_
