// Uploads, health and what survives: the server as a whole, on a real port.

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "grpcpp/generic/generic_stub.h"
#include "server/bundle/upload.h"
#include "server/rpc/server.h"
#include "tests/server/rpc/server_fixture.h"

namespace octet::rpc {
namespace {

using grpc::StatusCode;

class Uploads : public ServerTest {
 protected:
  grpc::Status Get(const std::string& id, v1::Checkpoint* checkpoint) {
    grpc::ClientContext context;
    v1::GetCheckpointRequest request;
    request.set_name("checkpoints/" + id);
    return checkpoints_->GetCheckpoint(&context, request, checkpoint);
  }

  // One stream with exactly these messages.
  grpc::Status Send(const std::vector<v1::UploadCheckpointRequest>& messages) {
    grpc::ClientContext context;
    v1::Checkpoint checkpoint;
    auto writer = checkpoints_->UploadCheckpoint(&context, &checkpoint);
    for (const auto& message : messages) {
      if (!writer->Write(message)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }
};

TEST_F(Uploads, BecomeActiveCheckpoints) {
  v1::Checkpoint checkpoint;
  ASSERT_THAT(Upload("tiny", Mlp(), &checkpoint), Ok());
  EXPECT_EQ(checkpoint.name(), "checkpoints/tiny");
  EXPECT_EQ(checkpoint.state(), v1::Checkpoint::STATE_ACTIVE);
  EXPECT_EQ(checkpoint.family(), "mlp");
  ASSERT_EQ(checkpoint.layers_size(), 2);
  EXPECT_EQ(checkpoint.layers(0).name(), "fc1");
  EXPECT_EQ(checkpoint.layers(0).in_features(), quantization::kMlpIn);
  EXPECT_GT(checkpoint.create_time().seconds(), 0);
  EXPECT_THAT(Upload("tiny", Mlp(), &checkpoint),
              Fails(StatusCode::ALREADY_EXISTS, "checkpoint 'tiny'"));
}

TEST_F(Uploads, ResumeWhereTheyBroke) {
  const Files files = Mlp();
  v1::Checkpoint checkpoint;
  EXPECT_THAT(Upload("tiny", files, &checkpoint, 1000, 2000),
              Fails(StatusCode::FAILED_PRECONDITION, "incomplete"));
  Restart();
  ASSERT_THAT(Get("tiny", &checkpoint), Ok());
  EXPECT_EQ(checkpoint.state(), v1::Checkpoint::STATE_UPLOADING);

  std::vector<v1::UploadCheckpointRequest> rest = {Header("tiny", files)};
  for (const v1::UploadedFile& file : checkpoint.files()) {
    const std::string& bytes = files.at(file.path());
    if (file.received_bytes() == file.size_bytes()) continue;
    rest.push_back(Chunk(file.path(), file.received_bytes(),
                         bytes.substr(file.received_bytes())));
  }
  EXPECT_THAT(Send(rest), Ok());
  ASSERT_THAT(Get("tiny", &checkpoint), Ok());
  EXPECT_EQ(checkpoint.state(), v1::Checkpoint::STATE_ACTIVE);
}

TEST_F(Uploads, RefuseWhatIsOutOfOrderDamagedOrUndeclared) {
  const Files files = {{"model.safetensors", std::string(100, 'x')}};
  const auto header = Header("bad", files);
  const std::string& bytes = files.begin()->second;
  EXPECT_THAT(Send({header, Chunk("model.safetensors", 5, bytes)}),
              Fails(StatusCode::OUT_OF_RANGE, "offset 0"));
  EXPECT_THAT(Send({header, Chunk("model.safetensors", -1, bytes)}),
              Fails(StatusCode::OUT_OF_RANGE, "chunk.offset"));
  EXPECT_THAT(Send({header, Chunk("other", 0, bytes)}),
              Fails(StatusCode::NOT_FOUND, "'other'"));
  auto damaged = Chunk("model.safetensors", 0, bytes);
  damaged.mutable_chunk()->set_crc32c(1);
  EXPECT_THAT(Send({header, damaged}), Fails(StatusCode::DATA_LOSS, "CRC32C"));
  EXPECT_THAT(Send({Chunk("model.safetensors", 0, bytes)}),
              Fails(StatusCode::INVALID_ARGUMENT, "header"));
  EXPECT_THAT(Send({}), Fails(StatusCode::INVALID_ARGUMENT, "header"));
  EXPECT_THAT(Send({header, header}),
              Fails(StatusCode::INVALID_ARGUMENT, "header"));
  EXPECT_THAT(Send({Header("Bad Id", files)}),
              Fails(StatusCode::INVALID_ARGUMENT, "header.checkpoint_id"));
  EXPECT_THAT(Send({Header("b", {{"../x", "1"}})}),
              Fails(StatusCode::INVALID_ARGUMENT, "header.files[0].path"));
}

TEST_F(Uploads, OfWhatIsNoModelLeaveNothing) {
  v1::Checkpoint checkpoint;
  EXPECT_THAT(Upload("junk", {{"model.safetensors", "junk"}}, &checkpoint),
              Fails(StatusCode::INVALID_ARGUMENT, ""));
  EXPECT_THAT(Get("junk", &checkpoint),
              Fails(StatusCode::NOT_FOUND, "checkpoint 'junk'"));

  auto tensors = quantization::MlpTensors();
  tensors[2].values[7] = std::numeric_limits<float>::quiet_NaN();
  const quantization::TemporaryDirectory nan;
  quantization::WriteCheckpoint(nan.path(), tensors, quantization::kMlpConfig);
  Files files = Mlp();
  files["model.safetensors"] =
      quantization::ReadText(nan.path() / "model.safetensors");
  const grpc::Status refused = Upload("nan", files, &checkpoint);
  EXPECT_THAT(refused, Fails(StatusCode::INVALID_ARGUMENT, "'fc2.weight'"));
  EXPECT_THAT(refused, Fails(StatusCode::INVALID_ARGUMENT, "element 7"));
  EXPECT_THAT(Get("nan", &checkpoint), Fails(StatusCode::NOT_FOUND, "nan"));
  EXPECT_THAT(Upload("nan", Mlp(), &checkpoint), Ok());
}

TEST_F(Uploads, SurviveAnErrorOfTheServer) {
  const auto in_the_way = directory_.path() / "checkpoints/tiny";
  quantization::WriteText(in_the_way, "");  // publishing can not rename to it
  v1::Checkpoint checkpoint;
  EXPECT_FALSE(Upload("tiny", Mlp(), &checkpoint).ok());
  ASSERT_THAT(Get("tiny", &checkpoint), Ok());
  EXPECT_EQ(checkpoint.state(), v1::Checkpoint::STATE_UPLOADING);
  for (const v1::UploadedFile& file : checkpoint.files()) {
    EXPECT_EQ(file.received_bytes(), file.size_bytes()) << file.path();
  }
  std::filesystem::remove(in_the_way);
  EXPECT_THAT(Send({Header("tiny", Mlp())}), Ok()) << "nothing is sent again";
  ASSERT_THAT(Get("tiny", &checkpoint), Ok());
  EXPECT_EQ(checkpoint.state(), v1::Checkpoint::STATE_ACTIVE);
}

// A crash after the rename leaves the state where it is no file of the
// checkpoint.
TEST_F(Uploads, ArePublishedFromTheRenameOn) {
  MustUpload("tiny", Mlp());
  const auto published = directory_.path() / "checkpoints/tiny";
  EXPECT_FALSE(std::filesystem::exists(published / bundle::kUploadState));
  quantization::WriteText(published / bundle::kUploadState, R"({"files": []})");
  v1::Checkpoint checkpoint;
  ASSERT_THAT(Get("tiny", &checkpoint), Ok());
  EXPECT_EQ(checkpoint.state(), v1::Checkpoint::STATE_ACTIVE);
  EXPECT_EQ(checkpoint.files_size(), 2);
  Restart();
  EXPECT_FALSE(std::filesystem::exists(published / bundle::kUploadState));
  ASSERT_THAT(Get("tiny", &checkpoint), Ok());
  EXPECT_EQ(checkpoint.state(), v1::Checkpoint::STATE_ACTIVE);
}

TEST_F(Uploads, ThatNothingCanResumeGoAtStart) {
  v1::Checkpoint checkpoint;
  EXPECT_FALSE(Upload("half", Mlp(), &checkpoint, 1000, 1000).ok());
  const auto staging = directory_.path() / "checkpoints/.staging";
  std::filesystem::create_directory(staging / "ghost");
  quantization::WriteText(staging / "ghost/model.safetensors", "x");
  Restart();
  EXPECT_FALSE(std::filesystem::exists(staging / "ghost"));
  ASSERT_THAT(Get("half", &checkpoint), Ok());
  EXPECT_EQ(checkpoint.state(), v1::Checkpoint::STATE_UPLOADING);
}

TEST_F(Uploads, HaveOneWriterAtATime) {
  grpc::ClientContext context;
  v1::Checkpoint checkpoint;
  const Files files = Mlp();
  auto first = checkpoints_->UploadCheckpoint(&context, &checkpoint);
  first->Write(Header("tiny", files));
  first->Write(Chunk("config.json", 0, files.at("config.json")));
  v1::Checkpoint seen;
  while (!Get("tiny", &seen).ok()) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_THAT(Send({Header("tiny", files)}),
              Fails(StatusCode::ABORTED, "checkpoints/tiny"));
  first->WritesDone();
  EXPECT_THAT(first->Finish(), Fails(StatusCode::FAILED_PRECONDITION, ""));
}

TEST_F(Uploads, OfAVanishedClientCanBeResumed) {
  const Files files = Mlp();
  {
    grpc::ClientContext context;
    v1::Checkpoint checkpoint;
    auto writer = checkpoints_->UploadCheckpoint(&context, &checkpoint);
    writer->Write(Header("tiny", files));
    writer->Write(Chunk("config.json", 0, files.at("config.json")));
    context.TryCancel();
    EXPECT_FALSE(writer->Finish().ok());
  }
  // The server may hear of it a little later.
  grpc::Status status;
  const absl::Time end = absl::Now() + absl::Seconds(20);
  do {
    v1::Checkpoint seen;
    if (!Get("tiny", &seen).ok()) continue;
    std::vector<v1::UploadCheckpointRequest> rest = {Header("tiny", files)};
    for (const v1::UploadedFile& file : seen.files()) {
      rest.push_back(
          Chunk(file.path(), file.received_bytes(),
                files.at(file.path()).substr(file.received_bytes())));
    }
    status = Send(rest);
    if (status.ok()) break;
  } while (absl::Now() < end);
  EXPECT_THAT(status, Ok());
}

TEST_F(Uploads, CanBeAbandonedAndDeleted) {
  v1::Checkpoint checkpoint;
  EXPECT_FALSE(Upload("tiny", Mlp(), &checkpoint, 1000, 1000).ok());
  EXPECT_THAT(DeleteCheckpoint("tiny"), Ok());
  EXPECT_THAT(DeleteCheckpoint("tiny"),
              Fails(StatusCode::NOT_FOUND, "checkpoint 'tiny'"));
  v1::DeleteCheckpointRequest request;
  google::protobuf::Empty empty;
  request.set_name("tiny");
  grpc::ClientContext wrong;
  EXPECT_THAT(checkpoints_->DeleteCheckpoint(&wrong, request, &empty),
              Fails(StatusCode::INVALID_ARGUMENT, "name: "));
}

TEST_F(Uploads, AreDeletedWithTheirLeftovers) {
  MustUpload("tiny", Mlp());
  const auto root = directory_.path() / "checkpoints";
  std::filesystem::create_directory(root / ".staging/tiny");
  EXPECT_THAT(DeleteCheckpoint("tiny"), Ok());
  EXPECT_FALSE(std::filesystem::exists(root / "tiny"));
  EXPECT_FALSE(std::filesystem::exists(root / ".staging/tiny"));
  EXPECT_THAT(DeleteCheckpoint("tiny"), Fails(StatusCode::NOT_FOUND, "'tiny'"));
}

// Health and reflection are called by their wire form: a field 1 of text.
class Standard : public ServerTest {
 protected:
  std::string Call(const std::string& method, const std::string& request,
                   grpc::Status* status) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::Slice slice(request);
    grpc::ByteBuffer buffer(&slice, 1);
    grpc::CompletionQueue queue;
    auto call = stub.PrepareUnaryCall(&context, method, buffer, &queue);
    call->StartCall();
    grpc::ByteBuffer response;
    call->Finish(&response, status, nullptr);
    void* tag;
    bool ok;
    queue.Next(&tag, &ok);
    grpc::Slice bytes;
    if (!status->ok() || !response.DumpToSingleSlice(&bytes).ok()) return "";
    return {reinterpret_cast<const char*>(bytes.begin()), bytes.size()};
  }
};

TEST_F(Standard, HealthServesEveryService) {
  grpc::Status status;
  const std::string serving = {0x08, 0x01};  // status: SERVING
  EXPECT_EQ(Call("/grpc.health.v1.Health/Check", "", &status), serving);
  const std::string name = "octet.v1.InferenceService";
  const std::string request =
      std::string("\x0a") + static_cast<char>(name.size()) + name;
  EXPECT_EQ(Call("/grpc.health.v1.Health/Check", request, &status), serving);
  EXPECT_THAT(status, Ok());
}

TEST_F(Standard, ReflectionListsTheServices) {
  grpc::Status status;
  const std::string list_services = {0x3a, 0x00};  // list_services: ""
  const std::string answer =
      Call("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
           list_services, &status);
  EXPECT_NE(answer.find("octet.v1.QuantizationService"), std::string::npos);
}

TEST_F(ServerTest, ADataDirectoryHasOneServer) {
  const auto second = Server::Start(options_);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
}

TEST_F(ServerTest, APortThatIsTakenIsAnErrorAtStart) {
  ServerOptions options = options_;
  const quantization::TemporaryDirectory other;
  options.data_directory = other.path();
  options.grpc_address = "127.0.0.1:" + std::to_string(server_->grpc_port());
  EXPECT_TRUE(absl::IsUnavailable(Server::Start(options).status()));
}

TEST_F(ServerTest, OversizedMessagesAreResourceExhausted) {
  grpc::ClientContext context;
  v1::MatMulRequest request;
  request.mutable_x()->set_data(std::string(65 << 20, '\0'));
  v1::MatMulResponse response;
  EXPECT_THAT(inference_->MatMul(&context, request, &response),
              Fails(StatusCode::RESOURCE_EXHAUSTED, ""));
}

}  // namespace
}  // namespace octet::rpc
