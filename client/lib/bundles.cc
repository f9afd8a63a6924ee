#include "client/lib/bundles.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "client/lib/archive.h"
#include "client/lib/file_streams.h"
#include "client/lib/status_macros.h"

namespace octet::client {

using Stub = v1::BundleService::Stub;
namespace fs = std::filesystem;

namespace {

// `target` with `suffix` after its last name, trailing slash or not.
fs::path Beside(const fs::path& target, absl::string_view suffix) {
  fs::path clean = target.lexically_normal();
  if (!clean.has_filename()) clean = clean.parent_path();
  clean += std::string(suffix);
  return clean;
}

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

absl::Status Rename(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (!error) return absl::OkStatus();
  return absl::UnknownError(absl::StrCat("cannot rename ", from.string(),
                                         " to ", to.string(), ": ",
                                         error.message()));
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
  std::error_code error;
  if (fs::exists(target, error)) {
    return absl::AlreadyExistsError(
        absl::StrCat(target.string(), " exists already"));
  }
  ASSIGN_OR_RETURN(const v1::Bundle bundle, GetBundle(connection, id));
  int64_t bytes = 0;
  for (const v1::BundleFile& file : bundle.files()) bytes += file.size_bytes();
  const fs::path tar = Beside(target, ".part.tar");
  const fs::path unpacked = Beside(target, ".part");
  const absl::Cleanup remove = [&] {
    fs::remove(tar, error);
    fs::remove_all(unpacked, error);
  };
  RETURN_IF_ERROR(DownloadTar(connection, id, tar, bytes, progress));
  if (form == BundleForm::kTar) return Rename(tar, Beside(target, ""));
  RETURN_IF_ERROR(Unpack(tar, unpacked));
  return Rename(unpacked, Beside(target, ""));
}

absl::StatusOr<v1::Bundle> UploadBundle(Connection& connection,
                                        const fs::path& source,
                                        absl::string_view id,
                                        const ProgressFn& progress) {
  std::error_code error;
  if (!fs::is_directory(source, error)) {
    return SendTar(connection, source, id, progress);
  }
  const fs::path tar = Beside(source, ".part.tar");
  const absl::Cleanup remove = [&] { fs::remove(tar, error); };
  RETURN_IF_ERROR(Pack(source, tar));
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
