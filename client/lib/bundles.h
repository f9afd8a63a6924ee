// Bundles on the server, and moving them between server and disk.

#ifndef OCTET_CLIENT_LIB_BUNDLES_H_
#define OCTET_CLIENT_LIB_BUNDLES_H_

#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/lib/connection.h"

namespace octet::client {

enum class BundleForm { kTar, kDirectory };

// Downloads a bundle to `target`, as a tar file or unpacked. Written aside, in
// a new directory beside it, and renamed: `target` is whole or does not exist.
// ALREADY_EXISTS when it exists; DATA_LOSS when a chunk is damaged or missing.
absl::Status DownloadBundle(Connection& connection, absl::string_view id,
                            const std::filesystem::path& target,
                            BundleForm form, const ProgressFn& progress);

// Uploads a bundle: a tar file, or a directory, which is packed first, in the
// system's temporary directory (TMPDIR).
absl::StatusOr<v1::Bundle> UploadBundle(Connection& connection,
                                        const std::filesystem::path& source,
                                        absl::string_view id,
                                        const ProgressFn& progress);

absl::StatusOr<v1::Bundle> GetBundle(Connection& connection,
                                     absl::string_view id);
absl::StatusOr<v1::ListBundlesResponse> ListBundles(Connection& connection);
absl::Status DeleteBundle(Connection& connection, absl::string_view id);
absl::StatusOr<v1::QuantizationReport> GetReport(Connection& connection,
                                                 absl::string_view id);
// The report as one HTML page.
absl::StatusOr<v1::RenderReportResponse> RenderReport(Connection& connection,
                                                      absl::string_view id);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_BUNDLES_H_
