#include "server/quantization/calibration/fingerprint.h"

#include <algorithm>
#include <cstddef>

#include "absl/types/span.h"
#include "kernels/status_macros.h"
#include "server/bundle/sha256.h"
#include "server/model/str_cat.h"

namespace octet::quantization {
namespace {

constexpr size_t kBytesPerPlace = 64;

void AppendSome(absl::Span<const std::byte> bytes, std::string& text) {
  const size_t size = std::min(kBytesPerPlace, bytes.size());
  for (const size_t begin :
       {size_t{0}, (bytes.size() - size) / 2, bytes.size() - size}) {
    text.append(reinterpret_cast<const char*>(bytes.data()) + begin, size);
  }
}

}  // namespace

absl::StatusOr<std::string> Fingerprint(const model::TensorSource& tensors) {
  std::string text;
  for (const std::string& name : tensors.Names()) {
    ASSIGN_OR_RETURN(const model::TensorView tensor, tensors.Find(name));
    text += model::StrCat(name, "\n", model::Name(tensor.type), "\n",
                          model::ShapeString(tensor.shape), "\n");
    if (!tensor.bytes.empty()) AppendSome(tensor.bytes, text);
  }
  return bundle::Sha256(text);
}

absl::Status CheckFingerprint(std::string_view calibration,
                              std::string_view checkpoint) {
  if (calibration == checkpoint) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the calibration was made with other weights than the checkpoint has; "
      "make a new calibration of this checkpoint");
}

}  // namespace octet::quantization
