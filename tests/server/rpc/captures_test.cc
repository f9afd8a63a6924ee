// Live traffic into calibrations, through real stubs.

#include <atomic>
#include <cmath>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/server/rpc/server_fixture.h"

namespace octet::rpc {
namespace {

using grpc::StatusCode;
using quantization::kMlpHidden;
using quantization::kMlpIn;
using quantization::RandomValues;
using ::testing::HasSubstr;

v1::Tensor RandomRows(int64_t rows, size_t columns, uint32_t seed) {
  return MakeTensor(RandomValues(rows * columns, seed), rows,
                    static_cast<int64_t>(columns));
}

class CapturesTest : public ServerTest {
 protected:
  CapturesTest() {
    options_.allow_capture = true;
    Restart();
    MustUpload("tiny", Mlp());
    MustLoad("m", "checkpoints/tiny");
    Create("live");
  }

  void Create(const std::string& id, const std::string& checkpoint = "tiny") {
    v1::CreateCalibrationRequest request;
    request.set_calibration_id(id);
    request.set_checkpoint("checkpoints/" + checkpoint);
    grpc::ClientContext context;
    v1::Calibration calibration;
    ASSERT_THAT(
        calibrations_->CreateCalibration(&context, request, &calibration),
        Ok());
  }

  static v1::StartCaptureRequest Request(int64_t max_samples = 0,
                                         double rate = 1) {
    v1::StartCaptureRequest request;
    request.set_calibration("calibrations/live");
    request.set_model("models/m");
    request.set_rate(rate);
    request.set_max_samples(max_samples);
    return request;
  }

  grpc::Status Start(const v1::StartCaptureRequest& request) {
    grpc::ClientContext context;
    v1::Calibration calibration;
    const grpc::Status status =
        calibrations_->StartCapture(&context, request, &calibration);
    EXPECT_EQ(calibration.has_capture(), status.ok());
    return status;
  }

  grpc::Status Stop(const std::string& id, v1::Calibration* calibration) {
    grpc::ClientContext context;
    v1::StopCaptureRequest request;
    request.set_calibration("calibrations/" + id);
    return calibrations_->StopCapture(&context, request, calibration);
  }

  v1::Calibration Get(const std::string& id) {
    grpc::ClientContext context;
    v1::GetCalibrationRequest request;
    request.set_name("calibrations/" + id);
    request.set_without_layers(true);
    v1::Calibration calibration;
    EXPECT_THAT(calibrations_->GetCalibration(&context, request, &calibration),
                Ok());
    return calibration;
  }

  // Once the capture has dealt with what it drew.
  v1::Capture AwaitTaken(int64_t samples) {
    v1::Capture capture;
    const absl::Time end = absl::Now() + absl::Seconds(60);
    do {
      capture = Get("live").capture();
      if (capture.taken_samples() >= samples) return capture;
      absl::SleepFor(absl::Milliseconds(2));
    } while (absl::Now() < end);
    ADD_FAILURE() << capture.DebugString();
    return capture;
  }
  v1::Capture AwaitDone() {
    v1::Capture capture;
    const absl::Time end = absl::Now() + absl::Seconds(60);
    do {
      capture = Get("live").capture();
      if (capture.state() == v1::Capture::STATE_DONE) return capture;
      absl::SleepFor(absl::Milliseconds(2));
    } while (absl::Now() < end);
    ADD_FAILURE() << capture.DebugString();
    return capture;
  }

  void Forward(const v1::Tensor& rows) {
    grpc::ClientContext context;
    v1::ForwardRequest request;
    request.set_model("models/m");
    *request.mutable_inputs()->mutable_features() = rows;
    v1::ForwardResponse response;
    ASSERT_THAT(inference_->Forward(&context, request, &response), Ok());
  }

  void MatMul(const std::string& layer, const v1::Tensor& rows) {
    grpc::ClientContext context;
    v1::MatMulRequest request;
    request.set_model("models/m");
    request.set_layer(layer);
    *request.mutable_x() = rows;
    v1::MatMulResponse response;
    ASSERT_THAT(inference_->MatMul(&context, request, &response), Ok());
  }

  grpc::Status Upload(
      const std::string& id,
      const std::vector<v1::UploadCalibrationBatchesRequest>& batches) {
    grpc::ClientContext context;
    v1::UploadCalibrationBatchesResponse response;
    auto writer = calibrations_->UploadCalibrationBatches(&context, &response);
    for (v1::UploadCalibrationBatchesRequest batch : batches) {
      batch.set_calibration("calibrations/" + id);
      if (!writer->Write(batch)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }

  // All that is known of a calibration, kept rows and samples included.
  std::string File(const std::string& id) {
    grpc::ClientContext context;
    v1::DownloadCalibrationRequest request;
    request.set_name("calibrations/" + id);
    auto reader = calibrations_->DownloadCalibration(&context, request);
    std::string file;
    v1::DownloadCalibrationResponse piece;
    while (reader->Read(&piece)) file += piece.data();
    EXPECT_THAT(reader->Finish(), Ok());
    return file;
  }
};

v1::UploadCalibrationBatchesRequest Inputs(const v1::Tensor& rows) {
  v1::UploadCalibrationBatchesRequest batch;
  *batch.mutable_inputs()->mutable_features() = rows;
  return batch;
}

v1::UploadCalibrationBatchesRequest Activations(const std::string& layer,
                                                const v1::Tensor& rows) {
  v1::UploadCalibrationBatchesRequest batch;
  batch.mutable_activations()->set_layer(layer);
  *batch.mutable_activations()->mutable_rows() = rows;
  return batch;
}

TEST_F(CapturesTest, CapturedIsWhatUploadedWouldBe) {
  ASSERT_THAT(Start(Request()), Ok());
  std::vector<v1::UploadCalibrationBatchesRequest> sent;
  int64_t samples = 0;
  for (uint32_t i = 0; i < 20; ++i) {
    const v1::Tensor rows = RandomRows(1 + i % 5, kMlpIn, i);
    Forward(rows);
    sent.push_back(Inputs(rows));
    const v1::Tensor hidden = RandomRows(2, kMlpHidden, 100 + i);
    MatMul("fc2", hidden);
    sent.push_back(Activations("fc2", hidden));
    samples += 1 + i % 5 + 2;
  }
  AwaitTaken(samples);
  v1::Calibration stopped;
  ASSERT_THAT(Stop("live", &stopped), Ok());
  EXPECT_EQ(stopped.capture().state(), v1::Capture::STATE_DONE);
  EXPECT_THAT(stopped.capture().state_reason(), HasSubstr("stopped"));
  EXPECT_EQ(stopped.capture().taken_samples(), samples);
  EXPECT_EQ(stopped.capture().dropped_samples(), 0);
  EXPECT_EQ(stopped.sample_count(), samples);
  Create("sent");
  ASSERT_THAT(Upload("sent", sent), Ok());
  EXPECT_EQ(File("live"), File("sent"));
}

TEST_F(CapturesTest, TakesExactlyMaxSamples) {
  ASSERT_THAT(Start(Request(/*max_samples=*/7)), Ok());
  const std::vector<float> values = RandomValues(9 * kMlpIn, 1);
  for (size_t batch = 0; batch < 3; ++batch) {
    const auto from = values.begin() + 3 * batch * kMlpIn;
    Forward(MakeTensor({from, from + 3 * kMlpIn}, 3, kMlpIn));
  }
  const v1::Capture done = AwaitDone();
  EXPECT_EQ(done.taken_samples(), 7);
  EXPECT_THAT(done.state_reason(), HasSubstr("7 samples"));
  EXPECT_EQ(Get("live").sample_count(), 7);
  EXPECT_EQ(Get("live").batch_count(), 3);
  // It is over: more is not taken, and anybody may write again.
  Forward(RandomRows(3, kMlpIn, 2));
  EXPECT_EQ(Get("live").sample_count(), 7);
  EXPECT_THAT(Upload("live", {Inputs(RandomRows(3, kMlpIn, 2))}), Ok());
  EXPECT_EQ(Get("live").sample_count(), 10);
}

TEST_F(CapturesTest, IsOffUnlessAFlagAllowsIt) {
  options_.allow_capture = false;
  Restart();
  EXPECT_THAT(Start(Request()),
              Fails(StatusCode::FAILED_PRECONDITION, "--allow-capture"));
  Forward(RandomRows(3, kMlpIn, 1));
  EXPECT_FALSE(Get("live").has_capture());
  EXPECT_EQ(Get("live").sample_count(), 0);
}

TEST_F(CapturesTest, NobodyElseWritesOrDeletesMeanwhile) {
  ASSERT_THAT(Start(Request()), Ok());
  EXPECT_THAT(Upload("live", {Inputs(RandomRows(3, kMlpIn, 2))}),
              Fails(StatusCode::ABORTED, "a capture of model 'm'"));
  google::protobuf::Empty nothing;
  v1::DeleteCalibrationRequest calibration;
  calibration.set_name("calibrations/live");
  {
    grpc::ClientContext context;
    EXPECT_THAT(
        calibrations_->DeleteCalibration(&context, calibration, &nothing),
        Fails(StatusCode::ABORTED, "a capture of model 'm'"));
  }
  v1::DeleteCheckpointRequest checkpoint;
  checkpoint.set_name("checkpoints/tiny");
  {
    // A bundle of the checkpoint serves; the checkpoint itself does not.
    v1::QuantizeRequest quantize;
    quantize.set_checkpoint("checkpoints/tiny");
    quantize.set_bundle_id("b");
    quantize.mutable_spec()->set_scheme(v1::SCHEME_W8A8_DYNAMIC);
    ASSERT_EQ(Quantize(quantize).state(), v1::Operation::STATE_SUCCEEDED);
    MustLoad("m", "bundles/b");
    grpc::ClientContext context;
    EXPECT_THAT(checkpoints_->DeleteCheckpoint(&context, checkpoint, &nothing),
                Fails(StatusCode::FAILED_PRECONDITION, "calibrations/live"));
  }
  v1::Calibration stopped;
  ASSERT_THAT(Stop("live", &stopped), Ok());
  {
    grpc::ClientContext context;
    EXPECT_THAT(
        calibrations_->DeleteCalibration(&context, calibration, &nothing),
        Ok());
  }
  {
    grpc::ClientContext context;
    EXPECT_THAT(checkpoints_->DeleteCheckpoint(&context, checkpoint, &nothing),
                Ok());
  }
}

TEST_F(CapturesTest, EndsWhenTheModelIsUnloaded) {
  ASSERT_THAT(Start(Request()), Ok());
  Forward(RandomRows(3, kMlpIn, 1));
  AwaitTaken(3);
  grpc::ClientContext context;
  v1::UnloadModelRequest request;
  request.set_name("models/m");
  google::protobuf::Empty nothing;
  ASSERT_THAT(models_->UnloadModel(&context, request, &nothing), Ok());
  EXPECT_THAT(AwaitDone().state_reason(), HasSubstr("'m' was unloaded"));
  EXPECT_EQ(Get("live").sample_count(), 3);
}

TEST_F(CapturesTest, EndsWhenItsTimeIsUp) {
  v1::StartCaptureRequest request = Request();
  request.mutable_max_duration()->set_nanos(1);
  ASSERT_THAT(Start(request), Ok());
  EXPECT_THAT(AwaitDone().state_reason(), HasSubstr("max_duration"));
}

TEST_F(CapturesTest, AServerThatStopsSavesWhatWasTaken) {
  ASSERT_THAT(Start(Request()), Ok());
  for (uint32_t i = 0; i < 3; ++i) Forward(RandomRows(2, kMlpIn, i));
  AwaitTaken(6);
  Restart();
  EXPECT_EQ(Get("live").sample_count(), 6);
  EXPECT_FALSE(Get("live").has_capture());
  ASSERT_THAT(Start(Request()), Ok());  // and goes on when asked
}

TEST_F(CapturesTest, AModelIsCapturedOnceAndItsCalibrationFits) {
  Create("other");
  v1::StartCaptureRequest other = Request();
  other.set_calibration("calibrations/other");
  ASSERT_THAT(Start(Request()), Ok());
  EXPECT_THAT(Start(other),
              Fails(StatusCode::FAILED_PRECONDITION, "'calibrations/live'"));
  MustUpload("bert", Bert());
  Create("texts", "bert");
  other.set_calibration("calibrations/texts");
  EXPECT_THAT(Start(other),
              Fails(StatusCode::FAILED_PRECONDITION, "checkpoint 'bert'"));
  // What was refused holds nothing.
  EXPECT_THAT(Upload("other", {Inputs(RandomRows(3, kMlpIn, 2))}), Ok());
}

TEST_F(CapturesTest, RefusesWhatIsOutOfBounds) {
  for (const double rate : {0.0, -1.0, 1.5, std::nan("")}) {
    EXPECT_THAT(Start(Request(0, rate)),
                Fails(StatusCode::INVALID_ARGUMENT, "rate"));
  }
  for (const int64_t samples : {int64_t{-1}, int64_t{1} << 20}) {
    EXPECT_THAT(Start(Request(samples)),
                Fails(StatusCode::INVALID_ARGUMENT, "max_samples"));
  }
  v1::StartCaptureRequest request = Request();
  request.mutable_max_duration()->set_seconds(int64_t{8} * 24 * 3600);
  EXPECT_THAT(Start(request),
              Fails(StatusCode::INVALID_ARGUMENT, "max_duration"));
  request = Request();
  request.set_model("models/nobody");
  EXPECT_THAT(Start(request), Fails(StatusCode::NOT_FOUND, "nobody"));
  request = Request();
  request.set_calibration("calibrations/nothing");
  EXPECT_THAT(Start(request), Fails(StatusCode::NOT_FOUND, "nothing"));
  v1::Calibration calibration;
  EXPECT_THAT(Stop("nothing", &calibration),
              Fails(StatusCode::NOT_FOUND, "nothing"));
  EXPECT_THAT(Stop("live", &calibration),
              Fails(StatusCode::FAILED_PRECONDITION, "live"));
}

TEST_F(CapturesTest, StartsStopsAndUnloadsUnderLoadWithoutADeadlock) {
  std::atomic<bool> done = false;
  std::vector<std::thread> clients;
  for (uint32_t i = 0; i < 3; ++i) {
    clients.emplace_back([&, i] {
      while (!done) Forward(RandomRows(4, kMlpIn, i));
    });
  }
  int64_t samples = 0;
  for (int i = 0; i < 20; ++i) {
    ASSERT_THAT(Start(Request(0, 0.5)), Ok());
    if (i % 3 == 0) MustLoad("m", "checkpoints/tiny");
    v1::Calibration stopped;
    ASSERT_THAT(Stop("live", &stopped), Ok());
    samples += stopped.capture().taken_samples();
    EXPECT_EQ(stopped.sample_count(), samples);
  }
  ASSERT_THAT(Start(Request(0, 0.5)), Ok());
  done = true;
  for (std::thread& client : clients) client.join();
  Restart();  // with a capture that runs
  EXPECT_GE(Get("live").sample_count(), samples);
}

}  // namespace
}  // namespace octet::rpc
