// A checkpoint of an MLP, calibrated, with a job to quantize it; and what a
// bundle's tensors hold.

#ifndef OCTET_TESTS_SERVER_QUANTIZATION_QUANTIZE_MLP_H_
#define OCTET_TESTS_SERVER_QUANTIZATION_QUANTIZE_MLP_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/quantization/job/quantizer.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {

template <typename T>
std::vector<T> Values(const model::TensorSource& tensors,
                      const std::string& name) {
  const auto tensor = tensors.Find(name);
  if (!tensor.ok()) return {};
  std::vector<T> values(tensor->bytes.size() / sizeof(T));
  std::copy_n(reinterpret_cast<const T*>(tensor->bytes.data()), values.size(),
              values.begin());
  return values;
}

inline std::vector<double> Floats(const model::TensorSource& tensors,
                                  const std::string& name) {
  const auto tensor = tensors.Find(name);
  if (!tensor.ok()) return {};
  const auto values = model::ToFloat(*tensor);
  return {values->begin(), values->end()};
}

// An MLP whose input column 3 is far larger than the others.
class QuantizeMlp : public ::testing::Test {
 protected:
  QuantizeMlp() {
    WriteCheckpoint(checkpoint_.path(), MlpTensors(), kMlpConfig);
    const OpenedModel opened = OpenFloat(checkpoint_.path());
    calibration_.checkpoint = "mlp";
    for (uint32_t seed = 100; seed < 104; ++seed) {
      EXPECT_THAT(
          ObserveInputs(*opened.model, Batch(30, seed), nullptr, calibration_),
          IsOk());
    }
  }

  static model::ModelInput Batch(size_t rows, uint32_t seed) {
    std::vector<float> values = RandomValues(rows * kMlpIn, seed);
    for (size_t r = 0; r < rows; ++r) values[r * kMlpIn + 3] += 30.0F;
    return Features(std::move(values), rows);
  }

  QuantizeJob Job() {
    QuantizeJob job;
    job.checkpoint = checkpoint_.path();
    job.output = output_.path();
    job.calibration = &calibration_;
    job.provenance.checkpoint = "checkpoints/mlp";
    job.provenance.calibration = "calibrations/mlp";
    job.provenance.octet_version = "0.1.0";
    job.provenance.create_time = "2026-01-02T03:04:05Z";
    return job;
  }

  TemporaryDirectory checkpoint_;
  TemporaryDirectory output_;
  Calibration calibration_;
};

}  // namespace octet::quantization

#endif  // OCTET_TESTS_SERVER_QUANTIZATION_QUANTIZE_MLP_H_
