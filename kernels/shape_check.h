// What a linear asks of the matrices it is given.

#ifndef OCTET_KERNELS_SHAPE_CHECK_H_
#define OCTET_KERNELS_SHAPE_CHECK_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace octet::kernels {

// Of a MatrixView, a LinearInput or a LinearOutput. INVALID_ARGUMENT naming
// `field` where the shape is another, rows overlap, or there is no data.
template <typename View>
absl::Status CheckShape(absl::string_view field, const View& view, size_t rows,
                        size_t cols) {
  if (view.data == nullptr && rows != 0) {
    return absl::InvalidArgumentError(absl::StrCat(field, " has no data"));
  }
  if (view.rows == rows && view.cols == cols && view.stride >= view.cols) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      field, " has shape [", view.rows, ", ", view.cols, "] and stride ",
      view.stride, "; expected shape [", rows, ", ", cols, "]"));
}

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_SHAPE_CHECK_H_
