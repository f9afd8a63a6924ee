// A quantization into a store of bundles: published whole, or nothing of it is
// left, however it ends.

#ifndef OCTET_SERVER_QUANTIZATION_JOB_PUBLISH_H_
#define OCTET_SERVER_QUANTIZATION_JOB_PUBLISH_H_

#include <string_view>

#include "absl/status/status.h"
#include "server/bundle/directory_store.h"
#include "server/quantization/job/quantizer.h"

namespace octet::quantization {

// Runs `job`, whose `output` is set here, and publishes it as `id`. Errors are
// those of Quantize and of the store. An exception (no memory) leaves nothing
// either.
absl::Status QuantizeInto(const bundle::DirectoryStore& bundles,
                          std::string_view id, QuantizeJob job);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_JOB_PUBLISH_H_
