// Checkpoints of a few hundred numbers, made in a temporary directory.

#ifndef OCTET_TESTS_SERVER_QUANTIZATION_SMALL_CHECKPOINT_H_
#define OCTET_TESTS_SERVER_QUANTIZATION_SMALL_CHECKPOINT_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "server/bundle/bundle.h"
#include "server/model/model.h"
#include "server/model/tensor.h"

namespace octet::quantization {

// Status and StatusOr alike.
inline const absl::Status& GetStatus(const absl::Status& status) {
  return status;
}
template <typename T>
const absl::Status& GetStatus(const absl::StatusOr<T>& status) {
  return status.status();
}

MATCHER(IsOk, "") {
  *result_listener << GetStatus(arg).ToString();
  return GetStatus(arg).ok();
}

MATCHER_P2(FailsWith, code, text, "") {
  const absl::Status& status = GetStatus(arg);
  *result_listener << status.ToString();
  return status.code() == code &&
         std::string(status.message()).find(text) != std::string::npos;
}

// Removed with everything below it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Normal values, the same for a seed on every machine.
std::vector<float> RandomValues(size_t count, uint32_t seed,
                                float sigma = 1.0F);

struct SmallTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
  model::DataType type = model::DataType::kF32;  // or kF16, kBF16, kI64
};

void WriteText(const std::filesystem::path& file, std::string_view text);
std::string ReadText(const std::filesystem::path& file);

// model.safetensors and, unless empty, config.json.
void WriteCheckpoint(const std::filesystem::path& directory,
                     const std::vector<SmallTensor>& tensors,
                     std::string_view config);

inline constexpr size_t kMlpIn = 24;
inline constexpr size_t kMlpHidden = 32;
inline constexpr size_t kMlpOut = 8;

// fc1 [32, 24], relu, fc2 [8, 32], with biases.
std::vector<SmallTensor> MlpTensors();
inline constexpr std::string_view kMlpConfig =
    R"({"model_type": "mlp", "layers": ["fc1", "fc2"], "hidden_act": "relu"})";

// One encoder layer of width 16, two heads, a vocabulary of 30.
std::vector<SmallTensor> BertTensors();
extern const std::string_view kBertConfig;

struct OpenedModel {
  bundle::ModelFiles files;
  std::unique_ptr<const model::Model> model;
};
OpenedModel OpenFloat(const std::filesystem::path& directory);

model::ModelInput Features(std::vector<float> values, size_t rows);
model::ModelInput Tokens(std::vector<std::vector<int32_t>> sequences);

}  // namespace octet::quantization

#endif  // OCTET_TESTS_SERVER_QUANTIZATION_SMALL_CHECKPOINT_H_
