// A checkpoint directory as a model in one scheme, for benchmarks: weights are
// quantized in memory, no calibration, no bundle.

#ifndef OCTET_TESTS_BENCHMARKS_MODEL_CHECKPOINT_H_
#define OCTET_TESTS_BENCHMARKS_MODEL_CHECKPOINT_H_

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "server/model/model.h"

namespace octet::benchmarks {

// Every linear gets `scheme`: kFp32, kBf16, kFp16 or kW8A8Dynamic.
absl::StatusOr<std::unique_ptr<const model::Model>> LoadCheckpoint(
    const std::filesystem::path& directory, model::Scheme scheme);

}  // namespace octet::benchmarks

#endif  // OCTET_TESTS_BENCHMARKS_MODEL_CHECKPOINT_H_
