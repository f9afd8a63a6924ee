// What a bundle holds beside tensors and config.json: a checkpoint's small
// files as they came, tokenizers, module lists, notices.

#ifndef OCTET_SERVER_QUANTIZATION_JOB_COMPANION_FILES_H_
#define OCTET_SERVER_QUANTIZATION_JOB_COMPANION_FILES_H_

#include <filesystem>

#include "absl/status/status.h"

namespace octet::quantization {

// Weights in other formats stay behind, since they would still be the float
// ones; and so does what is hidden (.git, .cache, names of ours for half of a
// file).
absl::Status CopyCompanionFiles(const std::filesystem::path& checkpoint,
                                const std::filesystem::path& bundle);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_JOB_COMPANION_FILES_H_
