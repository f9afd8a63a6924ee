// What a load that takes its time keeps waiting: nothing else.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "tests/server/rpc/serving_fixture.h"

namespace octet::rpc {
namespace {

using grpc::StatusCode;

// A load of model "slow" from "checkpoints/tiny" that does not end before
// LetGo: the table of models is written into a pipe, which nobody reads.
class SlowLoads : public Serving {
 protected:
  SlowLoads() {
    MustUpload("tiny", Mlp());
    MustUpload("idle", Mlp());
    EXPECT_EQ(mkfifo(pipe_.c_str(), 0600), 0);
    load_ = std::thread([this] {
      grpc::ClientContext context;
      v1::LoadModelRequest request;
      request.set_model_id("slow");
      request.set_source("checkpoints/tiny");
      v1::Model model;
      loaded_ = models_->LoadModel(&context, request, &model);
    });
    while (State() != v1::MODEL_STATE_LOADING) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  }
  ~SlowLoads() override { LetGo(); }

  // It fails, since a pipe can not be synced.
  void LetGo() {
    if (!load_.joinable()) return;
    const int reader = open(pipe_.c_str(), O_RDONLY | O_NONBLOCK);
    load_.join();
    close(reader);
    std::filesystem::remove(pipe_);
  }

  v1::ModelState State() {
    grpc::ClientContext context;
    v1::ListModelsResponse list;
    EXPECT_THAT(models_->ListModels(&context, {}, &list), Ok());
    return list.models_size() == 0 ? v1::MODEL_STATE_UNSPECIFIED
                                   : list.models(0).state();
  }

  grpc::Status DeleteSoon(const std::string& id) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::seconds(60));
    v1::DeleteCheckpointRequest request;
    request.set_name("checkpoints/" + id);
    google::protobuf::Empty empty;
    return checkpoints_->DeleteCheckpoint(&context, request, &empty);
  }

  const std::filesystem::path pipe_ = directory_.path() / ".models.json.tmp";
  std::thread load_;
  grpc::Status loaded_;
};

TEST_F(SlowLoads, KeepNoDeleteWaiting) {
  EXPECT_THAT(DeleteSoon("none"), Fails(StatusCode::NOT_FOUND, "'none'"));
  EXPECT_THAT(DeleteSoon("idle"), Ok());
  EXPECT_EQ(State(), v1::MODEL_STATE_LOADING);
}

TEST_F(SlowLoads, KeepWhatTheyLoad) {
  EXPECT_THAT(DeleteSoon("tiny"),
              Fails(StatusCode::FAILED_PRECONDITION, "is in use"));
  LetGo();
  EXPECT_FALSE(loaded_.ok());
  EXPECT_THAT(DeleteSoon("tiny"), Ok());
}

}  // namespace
}  // namespace octet::rpc
