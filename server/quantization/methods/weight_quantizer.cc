#include "server/quantization/methods/weight_quantizer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kernels/finite.h"
#include "server/model/str_cat.h"
#include "server/quantization/methods/affine.h"

namespace octet::quantization {
namespace {

float RowAbsmax(absl::Span<const float> row) {
  float absmax = 0.0F;
  for (const float value : row) absmax = std::max(absmax, std::fabs(value));
  return absmax;
}

// Calls f(group, values of it, where they begin).
template <typename F>
void ForEachGroup(absl::Span<const float> row, size_t group_size, F f) {
  const size_t step = group_size == 0 ? row.size() : group_size;
  size_t group = 0;
  for (size_t begin = 0; begin < row.size(); begin += step) {
    f(group++, row.subspan(begin, step), begin);
  }
}

// "[3, 17]" of the flat index 3 * 384 + 17 in a tensor of shape [n, 384].
std::string IndexString(size_t flat, absl::Span<const int64_t> shape) {
  std::vector<size_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    const auto extent = static_cast<size_t>(shape[d]);
    index[d] = flat % extent;
    flat /= extent;
  }
  return model::StrCat("[", absl::StrJoin(index, ", "), "]");
}

}  // namespace

void ScaleRow(absl::Span<const float> row, size_t group_size, float* scales) {
  ForEachGroup(row, group_size,
               [&](size_t group, absl::Span<const float> values, size_t) {
                 scales[group] = AbsmaxScale(RowAbsmax(values));
               });
}

// Not kernels::SymmetricCode, which multiplies by the inverse: weights are
// coded once, so that the exact quotient costs nothing.
void RoundRow(absl::Span<const float> row, const float* scales,
              size_t group_size, int8_t* codes) {
  ForEachGroup(row, group_size,
               [&](size_t group, absl::Span<const float> values, size_t begin) {
                 for (size_t k = 0; k < values.size(); ++k) {
                   const float quotient =
                       std::clamp(values[k] / scales[group], -127.0F, 127.0F);
                   codes[begin + k] =
                       static_cast<int8_t>(std::nearbyint(quotient));
                 }
               });
}

absl::Status CheckFinite(std::string_view name, absl::Span<const float> values,
                         absl::Span<const int64_t> shape, size_t first) {
  const std::optional<size_t> bad = kernels::FirstNonFinite(values);
  if (!bad.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "tensor '%s' holds %s at index %s; weights must be finite", name,
      std::isnan(values[*bad]) ? "NaN" : "an infinity",
      IndexString(first + *bad, shape)));
}

}  // namespace octet::quantization
