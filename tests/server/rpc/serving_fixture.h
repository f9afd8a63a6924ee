// Calls of a server that calibrates, quantizes and infers.

#ifndef OCTET_TESTS_SERVER_RPC_SERVING_FIXTURE_H_
#define OCTET_TESTS_SERVER_RPC_SERVING_FIXTURE_H_

#include <string>
#include <vector>

#include "server/bundle/upload.h"
#include "tests/server/rpc/server_fixture.h"

namespace octet::rpc {

inline v1::ModelInputs Rows(int64_t rows, uint32_t seed) {
  v1::ModelInputs inputs;
  *inputs.mutable_features() =
      MakeTensor(quantization::RandomValues(rows * quantization::kMlpIn, seed),
                 rows, quantization::kMlpIn);
  return inputs;
}

inline v1::ModelInputs Tokens(
    const std::vector<std::vector<int32_t>>& sequences) {
  v1::ModelInputs inputs;
  for (const auto& sequence : sequences) {
    inputs.mutable_tokens()->add_lengths(static_cast<int>(sequence.size()));
    for (const int32_t id : sequence) inputs.mutable_tokens()->add_ids(id);
  }
  return inputs;
}

inline v1::QuantizeRequest Request(const std::string& bundle,
                                   v1::Scheme scheme) {
  v1::QuantizeRequest request;
  request.set_checkpoint("checkpoints/tiny");
  request.set_bundle_id(bundle);
  request.mutable_spec()->set_scheme(scheme);
  return request;
}

class Serving : public ServerTest {
 protected:
  void CreateCalibration(const std::string& id) {
    grpc::ClientContext context;
    v1::CreateCalibrationRequest request;
    request.set_calibration_id(id);
    request.set_checkpoint("checkpoints/tiny");
    v1::Calibration calibration;
    ASSERT_THAT(
        calibrations_->CreateCalibration(&context, request, &calibration),
        Ok());
  }

  grpc::Status Calibrate(const std::string& id,
                         const std::vector<v1::ModelInputs>& batches,
                         v1::UploadCalibrationBatchesResponse* response) {
    grpc::ClientContext context;
    auto writer = calibrations_->UploadCalibrationBatches(&context, response);
    for (const v1::ModelInputs& batch : batches) {
      v1::UploadCalibrationBatchesRequest request;
      request.set_calibration("calibrations/" + id);
      *request.mutable_inputs() = batch;
      if (!writer->Write(request)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }

  v1::Calibration GetCalibration(const std::string& id) {
    grpc::ClientContext context;
    v1::GetCalibrationRequest request;
    request.set_name("calibrations/" + id);
    v1::Calibration calibration;
    EXPECT_THAT(calibrations_->GetCalibration(&context, request, &calibration),
                Ok());
    return calibration;
  }

  grpc::Status Forward(const std::string& model, const v1::ModelInputs& inputs,
                       v1::ForwardResponse* response) {
    grpc::ClientContext context;
    v1::ForwardRequest request;
    request.set_model("models/" + model);
    *request.mutable_inputs() = inputs;
    return inference_->Forward(&context, request, response);
  }

  std::vector<float> MustForward(const std::string& model,
                                 const v1::ModelInputs& inputs) {
    v1::ForwardResponse response;
    EXPECT_THAT(Forward(model, inputs, &response), Ok());
    return Values(response.output());
  }

  grpc::Status MatMul(const v1::MatMulRequest& request,
                      v1::MatMulResponse* response) {
    grpc::ClientContext context;
    return inference_->MatMul(&context, request, response);
  }

  std::string Download(const std::string& id) {
    grpc::ClientContext context;
    v1::DownloadBundleRequest request;
    request.set_name("bundles/" + id);
    auto reader = bundles_->DownloadBundle(&context, request);
    std::string tar;
    v1::DownloadBundleResponse piece;
    while (reader->Read(&piece)) {
      EXPECT_EQ(piece.offset(), static_cast<int64_t>(tar.size()));
      EXPECT_EQ(piece.crc32c(), bundle::Crc32c(piece.data()));
      tar += piece.data();
    }
    EXPECT_THAT(reader->Finish(), Ok());
    return tar;
  }

  grpc::Status UploadTar(const std::string& id, const std::string& tar,
                         v1::Bundle* bundle) {
    grpc::ClientContext context;
    auto writer = bundles_->UploadBundle(&context, bundle);
    v1::UploadBundleRequest request;
    request.mutable_header()->set_bundle_id(id);
    writer->Write(request);
    for (size_t at = 0; at < tar.size(); at += 3000) {
      v1::BundleChunk* chunk = request.mutable_chunk();
      chunk->set_offset(static_cast<int64_t>(at));
      chunk->set_data(tar.substr(at, 3000));
      chunk->set_crc32c(bundle::Crc32c(chunk->data()));
      if (!writer->Write(request)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }
};

}  // namespace octet::rpc

#endif  // OCTET_TESTS_SERVER_RPC_SERVING_FIXTURE_H_
