// NumPy's .npy files, the part of them that Octet speaks: two-dimensional,
// little-endian float32 in C order.
//
//   "\x93NUMPY" major minor header_size header '\n' elements
//
// The header is a Python dictionary literal with the keys descr, fortran_order
// and shape. Other types and orders are refused with what numpy call to make.

#ifndef OCTET_CLIENT_CLI_NPY_H_
#define OCTET_CLIENT_CLI_NPY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/lib/inference.h"

namespace octet::cli {

absl::StatusOr<client::Matrix> ParseNpy(absl::string_view bytes);
std::string SerializeNpy(const client::Matrix& matrix);

absl::StatusOr<client::Matrix> ReadNpy(const std::string& path);
absl::Status WriteNpy(const std::string& path, const client::Matrix& matrix);

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_NPY_H_
