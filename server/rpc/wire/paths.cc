#include "server/rpc/wire/paths.h"

#include <array>
#include <cstdint>

namespace octet::rpc {
namespace {

constexpr std::array<uint32_t, 2> kMatMulX = {v1::MatMulRequest::kXFieldNumber,
                                              v1::Tensor::kDataFieldNumber};
constexpr std::array<uint32_t, 3> kStreamMatMulX = {
    v1::StreamMatMulRequest::kRequestFieldNumber,
    v1::MatMulRequest::kXFieldNumber, v1::Tensor::kDataFieldNumber};
constexpr std::array<uint32_t, 3> kForwardFeatures = {
    v1::ForwardRequest::kInputsFieldNumber,
    v1::ModelInputs::kFeaturesFieldNumber, v1::Tensor::kDataFieldNumber};
constexpr std::array<uint32_t, 2> kForwardTokens = {
    v1::ForwardRequest::kInputsFieldNumber,
    v1::ModelInputs::kTokensFieldNumber};
constexpr std::array<uint32_t, 2> kTypedInputs = {
    inference::ModelInferRequest::kInputsFieldNumber,
    inference::ModelInferRequest::InferInputTensor::kContentsFieldNumber};
constexpr std::array<uint32_t, 1> kRawInputs = {
    inference::ModelInferRequest::kRawInputContentsFieldNumber};
constexpr std::array<uint32_t, 2> kMatMulY = {v1::MatMulResponse::kYFieldNumber,
                                              v1::Tensor::kDataFieldNumber};
constexpr std::array<uint32_t, 3> kStreamMatMulY = {
    v1::StreamMatMulResponse::kResponseFieldNumber,
    v1::MatMulResponse::kYFieldNumber, v1::Tensor::kDataFieldNumber};
constexpr std::array<uint32_t, 2> kForwardOutput = {
    v1::ForwardResponse::kOutputFieldNumber, v1::Tensor::kDataFieldNumber};
constexpr std::array<uint32_t, 1> kRawOutputs = {
    inference::ModelInferResponse::kRawOutputContentsFieldNumber};
constexpr std::array<uint32_t, 2> kStreamRawOutputs = {
    inference::ModelStreamInferResponse::kInferResponseFieldNumber,
    inference::ModelInferResponse::kRawOutputContentsFieldNumber};
constexpr std::array<uint32_t, 1> kBundleData = {
    v1::DownloadBundleResponse::kDataFieldNumber};
constexpr std::array<uint32_t, 1> kCalibrationData = {
    v1::DownloadCalibrationResponse::kDataFieldNumber};

}  // namespace

const WirePath& LargeField(const v1::MatMulRequest*) {
  static constexpr WirePath kPath = {.fields = kMatMulX};
  return kPath;
}

const WirePath& LargeField(const v1::StreamMatMulRequest*) {
  static constexpr WirePath kPath = {.fields = kStreamMatMulX};
  return kPath;
}

const WirePath& LargeField(const v1::ForwardRequest*) {
  static constexpr WirePath kPath = {
      .fields = kForwardFeatures,
      .rival_depth = 1,
      .rival = v1::ModelInputs::kTokensFieldNumber,
      .numbers = kForwardTokens};
  return kPath;
}

const WirePath& LargeField(const inference::ModelInferRequest*) {
  static constexpr WirePath kPath = {
      .fields = kRawInputs, .repeated = true, .numbers = kTypedInputs};
  return kPath;
}

const WirePath& LargeField(const v1::MatMulResponse*) {
  static constexpr WirePath kPath = {.fields = kMatMulY};
  return kPath;
}

const WirePath& LargeField(const v1::StreamMatMulResponse*) {
  static constexpr WirePath kPath = {.fields = kStreamMatMulY};
  return kPath;
}

const WirePath& LargeField(const v1::ForwardResponse*) {
  static constexpr WirePath kPath = {.fields = kForwardOutput};
  return kPath;
}

const WirePath& LargeField(const inference::ModelInferResponse*) {
  static constexpr WirePath kPath = {.fields = kRawOutputs, .repeated = true};
  return kPath;
}

const WirePath& LargeField(const inference::ModelStreamInferResponse*) {
  static constexpr WirePath kPath = {.fields = kStreamRawOutputs,
                                     .repeated = true};
  return kPath;
}

const WirePath& LargeField(const v1::DownloadBundleResponse*) {
  static constexpr WirePath kPath = {.fields = kBundleData};
  return kPath;
}

const WirePath& LargeField(const v1::DownloadCalibrationResponse*) {
  static constexpr WirePath kPath = {.fields = kCalibrationData};
  return kPath;
}

}  // namespace octet::rpc
