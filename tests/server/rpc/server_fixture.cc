#include "tests/server/rpc/server_fixture.h"

#include <algorithm>
#include <cstring>

#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "server/bundle/upload.h"

namespace octet::rpc {
namespace {

Files FilesOf(const std::vector<quantization::SmallTensor>& tensors,
              std::string_view config) {
  const quantization::TemporaryDirectory directory;
  quantization::WriteCheckpoint(directory.path(), tensors, config);
  return {{"config.json", std::string(config)},
          {"model.safetensors",
           quantization::ReadText(directory.path() / "model.safetensors")}};
}

}  // namespace

ServerTest::ServerTest() {
  options_.grpc_address = "127.0.0.1:0";
  options_.metrics_address = "127.0.0.1:0";
  options_.data_directory = directory_.path();
  options_.threads = 2;
  Start();
}

ServerTest::~ServerTest() = default;

void ServerTest::Start() {
  auto server = Server::Start(options_);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  channel_ =
      grpc::CreateChannel("127.0.0.1:" + std::to_string(server_->grpc_port()),
                          grpc::InsecureChannelCredentials());
  checkpoints_ = v1::CheckpointService::NewStub(channel_);
  calibrations_ = v1::CalibrationService::NewStub(channel_);
  quantizations_ = v1::QuantizationService::NewStub(channel_);
  bundles_ = v1::BundleService::NewStub(channel_);
  models_ = v1::ModelService::NewStub(channel_);
  inference_ = v1::InferenceService::NewStub(channel_);
}

void ServerTest::Restart() {
  server_->Shutdown(absl::ZeroDuration(), absl::Seconds(10));
  server_.reset();
  Start();
}

Files ServerTest::Mlp() {
  return FilesOf(quantization::MlpTensors(), quantization::kMlpConfig);
}

Files ServerTest::Bert() {
  return FilesOf(quantization::BertTensors(), quantization::kBertConfig);
}

grpc::Status ServerTest::Upload(const std::string& id, const Files& files,
                                v1::Checkpoint* checkpoint, size_t piece,
                                size_t stop_after) {
  grpc::ClientContext context;
  auto writer = checkpoints_->UploadCheckpoint(&context, checkpoint);
  writer->Write(Header(id, files));
  size_t sent = 0;
  for (const auto& [path, bytes] : files) {
    for (size_t at = 0; at < bytes.size() && sent < stop_after; at += piece) {
      const std::string_view data = std::string_view(bytes).substr(at, piece);
      writer->Write(Chunk(path, static_cast<int64_t>(at), data));
      sent += data.size();
    }
  }
  writer->WritesDone();
  return writer->Finish();
}

grpc::Status ServerTest::DeleteCheckpoint(const std::string& id) {
  grpc::ClientContext context;
  v1::DeleteCheckpointRequest request;
  request.set_name("checkpoints/" + id);
  google::protobuf::Empty empty;
  return checkpoints_->DeleteCheckpoint(&context, request, &empty);
}

void ServerTest::MustUpload(const std::string& id, const Files& files) {
  v1::Checkpoint checkpoint;
  ASSERT_THAT(Upload(id, files, &checkpoint), Ok());
}

v1::Operation ServerTest::Quantize(const v1::QuantizeRequest& request) {
  v1::Operation operation;
  grpc::ClientContext start;
  EXPECT_THAT(quantizations_->Quantize(&start, request, &operation), Ok());
  grpc::ClientContext watch;
  v1::WatchOperationRequest which;
  which.set_name(operation.name());
  auto reader = quantizations_->WatchOperation(&watch, which);
  while (reader->Read(&operation)) {
  }
  EXPECT_THAT(reader->Finish(), Ok());
  return operation;
}

void ServerTest::MustLoad(const std::string& model, const std::string& source) {
  grpc::ClientContext context;
  v1::LoadModelRequest request;
  request.set_model_id(model);
  request.set_source(source);
  v1::Model loaded;
  ASSERT_THAT(models_->LoadModel(&context, request, &loaded), Ok());
}

v1::UploadCheckpointRequest Header(const std::string& id, const Files& files) {
  v1::UploadCheckpointRequest request;
  request.mutable_header()->set_checkpoint_id(id);
  for (const auto& [path, bytes] : files) {
    auto* file = request.mutable_header()->add_files();
    file->set_path(path);
    file->set_size_bytes(static_cast<int64_t>(bytes.size()));
  }
  return request;
}

v1::UploadCheckpointRequest Chunk(const std::string& path, int64_t offset,
                                  std::string_view data) {
  v1::UploadCheckpointRequest request;
  request.mutable_chunk()->set_path(path);
  request.mutable_chunk()->set_offset(offset);
  request.mutable_chunk()->set_data(std::string(data));
  request.mutable_chunk()->set_crc32c(bundle::Crc32c(data));
  return request;
}

v1::Tensor MakeTensor(const std::vector<float>& values, int64_t rows,
                      int64_t cols) {
  v1::Tensor tensor;
  tensor.set_type(v1::DATA_TYPE_F32);
  tensor.add_shape(rows);
  tensor.add_shape(cols);
  tensor.set_data(reinterpret_cast<const char*>(values.data()),
                  values.size() * sizeof(float));
  return tensor;
}

std::vector<float> Values(const v1::Tensor& tensor) {
  std::vector<float> values(tensor.data().size() / sizeof(float));
  std::memcpy(values.data(), tensor.data().data(), tensor.data().size());
  return values;
}

}  // namespace octet::rpc
