// The JSON header of a safetensors file, read event by event: no document is
// built, so that a hostile header costs no more memory than its tensors.

#ifndef OCTET_SERVER_BUNDLE_SAFETENSORS_HEADER_H_
#define OCTET_SERVER_BUNDLE_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/tensor.h"

namespace octet::bundle {

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // reference's
inline constexpr size_t kMaxTensorRank = 16;
inline constexpr size_t kMaxTensorName = 1024;

// One entry as the header says it; not yet checked against the data.
struct TensorEntry {
  model::DataType type = model::DataType::kF32;
  std::vector<int64_t> shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, TensorEntry, std::less<>> tensors;
  std::map<std::string, std::string> metadata;
};

// INVALID_ARGUMENT names the tensor: unknown types, fields or values, negative
// or fractional numbers, duplicates, nesting, names that are empty, too long.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json);

// Bytes of a tensor; INVALID_ARGUMENT when the product does not fit 63 bits or
// an extent is negative.
absl::StatusOr<uint64_t> TensorBytes(std::string_view name,
                                     model::DataType type,
                                     const std::vector<int64_t>& shape);

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_SAFETENSORS_HEADER_H_
