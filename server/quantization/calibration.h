// A calibration: statistics of every linear's input over the samples seen so
// far, and a bounded set of samples kept to measure errors on.

#ifndef OCTET_SERVER_QUANTIZATION_CALIBRATION_H_
#define OCTET_SERVER_QUANTIZATION_CALIBRATION_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/model/model.h"
#include "server/quantization/statistics.h"

namespace octet::quantization {

inline constexpr uint64_t kFewSamples = 100;
inline constexpr uint64_t kManySamples = 1000;
inline constexpr size_t kKeptSamples = 64;  // sequences, or rows per layer
// Hashes remembered to find duplicates: 512 KiB. Later samples still count,
// and are compared with these.
inline constexpr size_t kRememberedHashes = 65536;

struct Calibration {
  std::string checkpoint;  // id
  uint64_t batches = 0;
  uint64_t samples = 0;  // sequences, feature rows, or activation rows
  uint64_t duplicate_samples = 0;  // seen before, by hash of their content
  std::unordered_set<uint64_t> sample_hashes;  // at most kRememberedHashes
  StatisticsByLayer layers;
  model::ModelInput kept_inputs;                        // first kKeptSamples
  std::map<std::string, std::vector<float>> kept_rows;  // activation batches

  // Sentences for people: too few, too many, near-duplicates.
  std::vector<std::string> Warnings() const;
};

// Runs the float model with observers. The batch counts whole or not at all:
// on an error `calibration` is as before.
absl::Status ObserveInputs(const model::Model& float_model,
                           const model::ModelInput& batch,
                           kernels::ThreadPool* pool, Calibration& calibration);

// Activations of one named linear, [rows, K]. NOT_FOUND for an unknown layer,
// INVALID_ARGUMENT for a wrong width or a non-finite value (with its index).
absl::Status ObserveActivations(const model::Graph& graph,
                                std::string_view layer,
                                kernels::MatrixView<const float> x,
                                Calibration& calibration);

// INVALID_ARGUMENT when the checkpoints or the layers' widths differ; `into` is
// then as before.
absl::Status Merge(const Calibration& from, Calibration& into);

// One file (safetensors), replaced atomically. LoadCalibration: NOT_FOUND, or
// DATA_LOSS for a file that Save did not write.
absl::Status Save(const Calibration& calibration,
                  const std::filesystem::path& file);
absl::StatusOr<Calibration> LoadCalibration(const std::filesystem::path& file);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_CALIBRATION_H_
