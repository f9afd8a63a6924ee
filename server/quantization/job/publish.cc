#include "server/quantization/job/publish.h"

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "kernels/status_macros.h"

namespace octet::quantization {

absl::Status QuantizeInto(const bundle::DirectoryStore& bundles,
                          std::string_view id, QuantizeJob job) {
  ASSIGN_OR_RETURN(job.output, bundles.Stage(id));
  absl::Cleanup discard = [&] { bundles.Discard(id).IgnoreError(); };
  RETURN_IF_ERROR(Quantize(job).status());
  RETURN_IF_ERROR(bundles.Publish(id));
  std::move(discard).Cancel();
  return absl::OkStatus();
}

}  // namespace octet::quantization
