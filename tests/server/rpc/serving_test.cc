// From calibration to served models, through real stubs.

#include <limits>
#include <string>
#include <vector>

#include "tests/server/rpc/serving_fixture.h"

namespace octet::rpc {
namespace {

using grpc::StatusCode;
using quantization::kMlpHidden;
using quantization::kMlpIn;
using quantization::kMlpOut;
using quantization::RandomValues;

TEST_F(Serving, ACalibrationBatchCountsWholeOrNotAtAll) {
  MustUpload("tiny", Mlp());
  CreateCalibration("c");
  v1::ModelInputs bad = Rows(4, 3);
  std::vector<float> values = Values(bad.features());
  values[kMlpIn + 5] = std::numeric_limits<float>::infinity();
  *bad.mutable_features() = MakeTensor(values, 4, kMlpIn);

  v1::UploadCalibrationBatchesResponse response;
  EXPECT_THAT(Calibrate("c", {Rows(4, 1), Rows(4, 2), bad}, &response),
              Fails(StatusCode::INVALID_ARGUMENT, "batches[2].features"));
  EXPECT_EQ(GetCalibration("c").batch_count(), 2);
  EXPECT_EQ(GetCalibration("c").sample_count(), 8);

  ASSERT_THAT(Calibrate("c", {Rows(4, 4)}, &response), Ok());
  EXPECT_EQ(response.accepted_batches(), 1);
  EXPECT_EQ(response.accepted_samples(), 4);
  Restart();
  const v1::Calibration kept = GetCalibration("c");
  EXPECT_EQ(kept.batch_count(), 3);
  ASSERT_EQ(kept.layers_size(), 2);
  EXPECT_EQ(kept.layers(0).layer(), "fc1");
  EXPECT_EQ(kept.layers(0).row_count(), 12);
  int64_t in_bins = 0;
  for (const auto& bin : kept.layers(0).histogram()) in_bins += bin.count();
  EXPECT_EQ(in_bins, 12 * kMlpIn);
}

TEST_F(Serving, NamedActivationsCalibrateOneLayer) {
  MustUpload("tiny", Mlp());
  CreateCalibration("c");
  const auto send = [&](const std::string& layer) {
    grpc::ClientContext context;
    v1::UploadCalibrationBatchesResponse response;
    auto writer = calibrations_->UploadCalibrationBatches(&context, &response);
    v1::UploadCalibrationBatchesRequest request;
    request.set_calibration("calibrations/c");
    request.mutable_activations()->set_layer(layer);
    *request.mutable_activations()->mutable_rows() =
        MakeTensor(RandomValues(3 * kMlpHidden, 5), 3, kMlpHidden);
    writer->Write(request);
    writer->WritesDone();
    return writer->Finish();
  };
  EXPECT_THAT(send("fc2"), Ok());
  EXPECT_THAT(send("fc9"), Fails(StatusCode::NOT_FOUND, "fc9"));
  ASSERT_EQ(GetCalibration("c").layers_size(), 1);
  EXPECT_EQ(GetCalibration("c").layers(0).layer(), "fc2");
}

TEST_F(Serving, CalibrationsMerge) {
  MustUpload("tiny", Mlp());
  v1::UploadCalibrationBatchesResponse response;
  for (const char* id : {"a", "b"}) {
    CreateCalibration(id);
    ASSERT_THAT(Calibrate(id, {Rows(4, id[0])}, &response), Ok());
  }
  const auto merge = [&](const std::string& from, v1::Calibration* merged) {
    grpc::ClientContext context;
    v1::MergeCalibrationsRequest request;
    request.set_into("calibrations/a");
    request.add_from(from);
    return calibrations_->MergeCalibrations(&context, request, merged);
  };
  v1::Calibration merged;
  EXPECT_THAT(merge("calibrations/b", &merged), Ok());
  EXPECT_EQ(merged.sample_count(), 8);
  EXPECT_THAT(merge("calibrations/a", &merged),
              Fails(StatusCode::INVALID_ARGUMENT, "from[0]"));
  EXPECT_THAT(merge("calibrations/x", &merged),
              Fails(StatusCode::NOT_FOUND, "calibration 'x'"));
}

TEST_F(Serving, QuantizedModelsAnswerLikeTheirCheckpoint) {
  MustUpload("tiny", Mlp());
  CreateCalibration("c");
  v1::UploadCalibrationBatchesResponse response;
  ASSERT_THAT(Calibrate("c", {Rows(64, 1)}, &response), Ok());
  MustLoad("float", "checkpoints/tiny");
  const v1::ModelInputs inputs = Rows(5, 9);
  const std::vector<float> expected = MustForward("float", inputs);
  ASSERT_EQ(expected.size(), 5 * kMlpOut);

  for (const v1::Scheme scheme :
       {v1::SCHEME_W8A8_DYNAMIC, v1::SCHEME_W8A8_STATIC, v1::SCHEME_LLM_INT8}) {
    v1::QuantizeRequest request = Request("b" + std::to_string(scheme), scheme);
    request.set_calibration("calibrations/c");
    const v1::Operation done = Quantize(request);
    ASSERT_EQ(done.state(), v1::Operation::STATE_SUCCEEDED)
        << done.error().message();
    MustLoad("int8", done.bundle());
    const std::vector<float> actual = MustForward("int8", inputs);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i) {
      EXPECT_NEAR(actual[i], expected[i], 0.2) << i;
    }
  }
}

TEST_F(Serving, PlansAreCheckedBeforeAnOperationStarts) {
  MustUpload("tiny", Mlp());
  const auto start = [&](const v1::QuantizeRequest& request) {
    grpc::ClientContext context;
    v1::Operation operation;
    return quantizations_->Quantize(&context, request, &operation);
  };
  EXPECT_THAT(start(Request("b", v1::SCHEME_W8A8_STATIC)),
              Fails(StatusCode::FAILED_PRECONDITION, ""));
  v1::QuantizeRequest pattern = Request("b", v1::SCHEME_W8A8_DYNAMIC);
  pattern.mutable_spec()->add_include("nothing.*");
  EXPECT_THAT(start(pattern), Fails(StatusCode::INVALID_ARGUMENT, "nothing"));
  EXPECT_THAT(start(Request("b", static_cast<v1::Scheme>(77))),
              Fails(StatusCode::INVALID_ARGUMENT, "spec.scheme"));
  EXPECT_THAT(start(Request("B!", v1::SCHEME_W8A8_DYNAMIC)),
              Fails(StatusCode::INVALID_ARGUMENT, "bundle_id"));
  v1::QuantizeRequest unknown = Request("b", v1::SCHEME_W8A8_DYNAMIC);
  unknown.set_checkpoint("checkpoints/other");
  EXPECT_THAT(start(unknown),
              Fails(StatusCode::NOT_FOUND, "checkpoint 'other'"));
  grpc::ClientContext context;
  v1::ListOperationsResponse list;
  EXPECT_THAT(quantizations_->ListOperations(&context, {}, &list), Ok());
  EXPECT_EQ(list.operations_size(), 0);
}

TEST_F(Serving, DoneOperationsCannotBeCancelledAndBundlesNotMadeTwice) {
  MustUpload("tiny", Mlp());
  const v1::Operation done = Quantize(Request("b", v1::SCHEME_W8A8_DYNAMIC));
  ASSERT_EQ(done.state(), v1::Operation::STATE_SUCCEEDED);
  grpc::ClientContext context;
  v1::CancelOperationRequest cancel;
  cancel.set_name(done.name());
  v1::Operation operation;
  EXPECT_THAT(quantizations_->CancelOperation(&context, cancel, &operation),
              Fails(StatusCode::FAILED_PRECONDITION, "already done"));
  grpc::ClientContext again;
  EXPECT_THAT(quantizations_->Quantize(
                  &again, Request("b", v1::SCHEME_W8A8_DYNAMIC), &operation),
              Fails(StatusCode::ALREADY_EXISTS, "bundle 'b'"));
}

TEST_F(Serving, BundlesComeBackFromTheirTar) {
  MustUpload("tiny", Bert());
  ASSERT_EQ(Quantize(Request("b", v1::SCHEME_W8A8_DYNAMIC)).state(),
            v1::Operation::STATE_SUCCEEDED);
  const std::string tar = Download("b");
  v1::Bundle copy;
  ASSERT_THAT(UploadTar("copy", tar, &copy), Ok());
  EXPECT_EQ(copy.name(), "bundles/copy");
  EXPECT_EQ(copy.layers_size(), 6);
  EXPECT_EQ(Download("copy"), tar);

  MustLoad("b", "bundles/b");
  MustLoad("copy", "bundles/copy");
  const v1::ModelInputs inputs = Tokens({{1, 2, 3}, {4, 5}});
  EXPECT_EQ(MustForward("b", inputs), MustForward("copy", inputs));

  EXPECT_THAT(UploadTar("copy", tar, &copy),
              Fails(StatusCode::ALREADY_EXISTS, "bundle 'copy'"));
  EXPECT_THAT(UploadTar("cut", tar.substr(0, tar.size() / 2), &copy),
              Fails(StatusCode::INVALID_ARGUMENT, ""));
  EXPECT_THAT(UploadTar("junk", "junk", &copy),
              Fails(StatusCode::INVALID_ARGUMENT, ""));
}

TEST_F(Serving, WhatIsInUseIsNotDeleted) {
  MustUpload("tiny", Mlp());
  MustLoad("m", "checkpoints/tiny");
  EXPECT_THAT(DeleteCheckpoint("tiny"),
              Fails(StatusCode::FAILED_PRECONDITION, "in use"));
  grpc::ClientContext context;
  v1::UnloadModelRequest unload;
  unload.set_name("models/m");
  google::protobuf::Empty empty;
  ASSERT_THAT(models_->UnloadModel(&context, unload, &empty), Ok());
  EXPECT_THAT(DeleteCheckpoint("tiny"), Ok());
}

TEST_F(Serving, LoadedModelsComeBackAfterARestart) {
  MustUpload("tiny", Mlp());
  MustLoad("m", "checkpoints/tiny");
  const std::vector<float> before = MustForward("m", Rows(3, 1));
  Restart();
  EXPECT_EQ(MustForward("m", Rows(3, 1)), before);
}

TEST_F(Serving, AnUnknownOperationCannotBeWatched) {
  grpc::ClientContext context;
  v1::WatchOperationRequest request;
  request.set_name("operations/nope");
  auto reader = quantizations_->WatchOperation(&context, request);
  v1::Operation operation;
  EXPECT_FALSE(reader->Read(&operation));
  EXPECT_THAT(reader->Finish(),
              Fails(StatusCode::NOT_FOUND, "operation 'nope'"));
}

}  // namespace
}  // namespace octet::rpc
