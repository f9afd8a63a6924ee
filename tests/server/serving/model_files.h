// Small models on disk, with weights whose results are known by hand.
//
//   fc1  W = [[1, 0], [0, 1], [1, 1]]   [3, 2]
//   fc2  W = [[2, 2, 2]]                [1, 3], bias 0.5
//
// Forward([a, b]) = 2 (relu(a) + relu(b) + relu(a + b)) + 0.5

#ifndef OCTET_TESTS_SERVER_SERVING_MODEL_FILES_H_
#define OCTET_TESTS_SERVER_SERVING_MODEL_FILES_H_

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "server/bundle/directory_store.h"
#include "server/serving/fetched_rows.h"
#include "server/serving/model_registry.h"
#include "server/telemetry/metrics.h"

namespace octet::serving {

// fc2's weights are `weight` instead of 2, to tell models apart.
void WriteCheckpoint(const std::filesystem::path& directory, float weight);

// The same, fc1 as w8a8_dynamic and fc2 in FP16; made from "checkpoints/c",
// whose calibration saw |x| up to 4 in fc1.
void WriteBundle(const std::filesystem::path& directory, float weight);

// A data directory of its own, with two stores, and a registry over them.
class RegistryTest : public ::testing::Test {
 protected:
  RegistryTest();
  ~RegistryTest() override;

  void AddCheckpoint(const std::string& id, float weight = 2);
  void AddBundle(const std::string& id, float weight = 2);

  std::unique_ptr<ModelRegistry> NewRegistry(
      telemetry::Metrics* metrics = nullptr) const;

  const std::filesystem::path root_;
  const bundle::DirectoryStore checkpoints_;
  const bundle::DirectoryStore bundles_;
  const std::filesystem::path state_file_;
};

// Rows that are fetched from `data`, which has to live as long.
FetchedRows Rows(const float* data, size_t rows, size_t cols);

// The request alone. Models here give one number for a row.
absl::StatusOr<model::ModelOutput> Forward(const LoadedModel& model,
                                           const model::ModelInput& input);

// Forward of one row; fails the test when it is not OK.
float Answer(const LoadedModel& model, float a, float b);

}  // namespace octet::serving

#endif  // OCTET_TESTS_SERVER_SERVING_MODEL_FILES_H_
