// A real server on a loopback port, and stubs to talk to it.

#ifndef OCTET_TESTS_SERVER_RPC_SERVER_FIXTURE_H_
#define OCTET_TESTS_SERVER_RPC_SERVER_FIXTURE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"
#include "gtest/gtest.h"
#include "octet/v1/bundle_service.grpc.pb.h"
#include "octet/v1/calibration_service.grpc.pb.h"
#include "octet/v1/checkpoint_service.grpc.pb.h"
#include "octet/v1/inference_service.grpc.pb.h"
#include "octet/v1/model_service.grpc.pb.h"
#include "octet/v1/quantization_service.grpc.pb.h"
#include "server/rpc/server.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::rpc {

MATCHER(Ok, "") {
  *result_listener << arg.error_code() << ": " << arg.error_message();
  return arg.ok();
}
MATCHER_P2(Fails, code, text, "") {
  *result_listener << arg.error_code() << ": " << arg.error_message();
  return arg.error_code() == code &&
         arg.error_message().find(text) != std::string::npos;
}

using Files = std::map<std::string, std::string>;  // path -> bytes

class ServerTest : public ::testing::Test {
 protected:
  ServerTest();
  ~ServerTest() override;

  // Stops the server and starts another one on the same directory.
  void Restart();

  // Files of a tiny checkpoint.
  static Files Mlp();
  static Files Bert();
  // Sends all of it in pieces of `piece` bytes; `stop_after` ends early.
  grpc::Status Upload(const std::string& id, const Files& files,
                      v1::Checkpoint* checkpoint, size_t piece = 1000,
                      size_t stop_after = SIZE_MAX);
  void MustUpload(const std::string& id, const Files& files);

  grpc::Status DeleteCheckpoint(const std::string& id);

  // Quantizes and waits; returns how it ended.
  v1::Operation Quantize(const v1::QuantizeRequest& request);
  void MustLoad(const std::string& model, const std::string& source);

  ServerOptions options_;
  const quantization::TemporaryDirectory directory_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::CheckpointService::Stub> checkpoints_;
  std::unique_ptr<v1::CalibrationService::Stub> calibrations_;
  std::unique_ptr<v1::QuantizationService::Stub> quantizations_;
  std::unique_ptr<v1::BundleService::Stub> bundles_;
  std::unique_ptr<v1::ModelService::Stub> models_;
  std::unique_ptr<v1::InferenceService::Stub> inference_;

 private:
  void Start();
};

v1::UploadCheckpointRequest Header(const std::string& id, const Files& files);
v1::UploadCheckpointRequest Chunk(const std::string& path, int64_t offset,
                                  std::string_view data);
v1::Tensor MakeTensor(const std::vector<float>& values, int64_t rows,
                      int64_t cols);
std::vector<float> Values(const v1::Tensor& tensor);

}  // namespace octet::rpc

#endif  // OCTET_TESTS_SERVER_RPC_SERVER_FIXTURE_H_
