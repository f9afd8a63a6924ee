// Looks for NaN and infinities.

#ifndef OCTET_KERNELS_FINITE_H_
#define OCTET_KERNELS_FINITE_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/types/span.h"

namespace octet::kernels {

// Index of the first value that is NaN or infinite, if there is one.
std::optional<size_t> FirstNonFinite(absl::Span<const float> values);
std::optional<size_t> FirstNonFiniteFp16(absl::Span<const uint16_t> bits);
std::optional<size_t> FirstNonFiniteBf16(absl::Span<const uint16_t> bits);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_FINITE_H_
