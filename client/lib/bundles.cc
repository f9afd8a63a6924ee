#include "client/lib/bundles.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "client/lib/archive.h"
#include "client/lib/file_streams.h"
#include "client/lib/scratch_directory.h"
#include "client/lib/status_macros.h"

namespace octet::client {

using Stub = v1::BundleService::Stub;
namespace fs = std::filesystem;

namespace {

absl::Status DownloadTar(Connection& connection, absl::string_view id,
                         const fs::path& path, int64_t about_bytes,
                         const ProgressFn& progress) {
  v1::DownloadBundleRequest request;
  request.set_name(ResourceName("bundles", id));
  Call call(connection);
  const auto stream =
      connection.bundles().DownloadBundle(&call.context(), request);
  return ReceiveFile<v1::DownloadBundleResponse>(
      call, *stream, path, [&](const auto& /*chunk*/, int64_t received) {
        if (progress) progress(received, std::max(about_bytes, received));
      });
}

absl::StatusOr<v1::Bundle> SendTar(Connection& connection, const fs::path& path,
                                   absl::string_view id,
                                   const ProgressFn& progress) {
  ASSIGN_OR_RETURN(const int64_t size, SizeOf(path));
  Call call(connection);
  v1::Bundle bundle;
  const auto stream =
      connection.bundles().UploadBundle(&call.context(), &bundle);
  v1::UploadBundleRequest request;
  request.mutable_header()->set_bundle_id(std::string(id));
  RETURN_IF_ERROR(
      SendFile(call, *stream, std::move(request), path, size, progress));
  return bundle;
}

}  // namespace

absl::Status DownloadBundle(Connection& connection, absl::string_view id,
                            const fs::path& target, BundleForm form,
                            const ProgressFn& progress) {
  ASSIGN_OR_RETURN(const ScratchDirectory aside,
                   ScratchDirectory::Beside(target));
  ASSIGN_OR_RETURN(const v1::Bundle bundle, GetBundle(connection, id));
  int64_t bytes = 0;
  for (const v1::BundleFile& file : bundle.files()) bytes += file.size_bytes();
  const fs::path tar = aside.path() / "tar";
  RETURN_IF_ERROR(DownloadTar(connection, id, tar, bytes, progress));
  if (form == BundleForm::kTar) return MoveTo(tar, target);
  const fs::path unpacked = aside.path() / "unpacked";
  const auto on_block = [&](int64_t) { return connection.CheckCancelled(); };
  RETURN_IF_ERROR(Unpack(tar, unpacked, on_block));
  return MoveTo(unpacked, target);
}

absl::StatusOr<v1::Bundle> UploadBundle(Connection& connection,
                                        const fs::path& source,
                                        absl::string_view id,
                                        const ProgressFn& progress) {
  std::error_code error;
  if (!fs::is_directory(source, error)) {
    return SendTar(connection, source, id, progress);
  }
  ASSIGN_OR_RETURN(const ScratchDirectory scratch,
                   ScratchDirectory::Temporary());
  const fs::path tar = scratch.path() / "tar";
  const auto on_block = [&](int64_t) { return connection.CheckCancelled(); };
  RETURN_IF_ERROR(Pack(source, tar, on_block));
  return SendTar(connection, tar, id, progress);
}

absl::StatusOr<v1::Bundle> GetBundle(Connection& connection,
                                     absl::string_view id) {
  v1::GetBundleRequest request;
  request.set_name(ResourceName("bundles", id));
  return Unary(connection, connection.bundles(), &Stub::GetBundle, request);
}

absl::StatusOr<v1::ListBundlesResponse> ListBundles(Connection& connection) {
  return Unary(connection, connection.bundles(), &Stub::ListBundles,
               v1::ListBundlesRequest());
}

absl::Status DeleteBundle(Connection& connection, absl::string_view id) {
  v1::DeleteBundleRequest request;
  request.set_name(ResourceName("bundles", id));
  return Unary(connection, connection.bundles(), &Stub::DeleteBundle, request)
      .status();
}

absl::StatusOr<v1::QuantizationReport> GetReport(Connection& connection,
                                                 absl::string_view id) {
  v1::GetReportRequest request;
  request.set_name(ResourceName("bundles", id));
  return Unary(connection, connection.bundles(), &Stub::GetReport, request);
}

absl::StatusOr<v1::RenderReportResponse> RenderReport(Connection& connection,
                                                      absl::string_view id) {
  v1::RenderReportRequest request;
  request.set_name(ResourceName("bundles", id));
  return Unary(connection, connection.bundles(), &Stub::RenderReport, request);
}

}  // namespace octet::client
