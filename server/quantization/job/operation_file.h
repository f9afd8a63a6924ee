// One operation as one small JSON file, replaced atomically.

#ifndef OCTET_SERVER_QUANTIZATION_JOB_OPERATION_FILE_H_
#define OCTET_SERVER_QUANTIZATION_JOB_OPERATION_FILE_H_

#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/quantization/job/operations.h"

namespace octet::quantization {

absl::Status SaveOperation(const Operation& operation,
                           const std::filesystem::path& file);

// DATA_LOSS for a file that SaveOperation did not write.
absl::StatusOr<Operation> LoadOperation(const std::filesystem::path& file);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_JOB_OPERATION_FILE_H_
