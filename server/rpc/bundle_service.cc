// BundleService: quantized models, in and out.

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "kernels/status_macros.h"
#include "octet/v1/bundle_service.grpc.pb.h"
#include "server/bundle/archive.h"
#include "server/bundle/bundle.h"
#include "server/bundle/io.h"
#include "server/bundle/manifest.h"
#include "server/bundle/report_page.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/download.h"
#include "server/rpc/messages.h"
#include "server/rpc/report_messages.h"
#include "server/rpc/resources/backend.h"
#include "server/rpc/resources/dependencies.h"
#include "server/rpc/resources/resource_names.h"
#include "server/rpc/services.h"
#include "server/rpc/upload_file.h"

namespace octet::rpc {
namespace {

namespace fs = std::filesystem;

using grpc::CallbackServerContext;
using grpc::ServerReadReactor;
using grpc::ServerUnaryReactor;
using grpc::ServerWriteReactor;

constexpr uint64_t kMaxManifestBytes = uint64_t{64} << 20;

void Fill(std::string_view id, const bundle::Manifest& from, v1::Bundle* out) {
  out->set_name(ResourceName(kBundles, id));
  out->set_family(from.family);
  out->set_checkpoint(from.provenance.checkpoint);
  out->set_calibration(from.provenance.calibration);
  // The plan is sorted by name; the report is in execution order.
  for (const bundle::LayerReport& layer : from.report.layers) {
    v1::LayerScheme* item = out->add_layers();
    item->set_layer(layer.layer);
    item->set_scheme(ToProto(layer.scheme));
  }
  for (const auto& [path, file] : from.files) {
    v1::BundleFile* item = out->add_files();
    item->set_path(path);
    item->set_size_bytes(static_cast<int64_t>(file.size_bytes));
    item->set_sha256(file.sha256);
  }
  out->set_compressed_tensors_obstacle(from.compressed_tensors);
  absl::Time time;
  std::string error;
  if (absl::ParseTime(absl::RFC3339_full, from.provenance.create_time, &time,
                      &error)) {
    *out->mutable_create_time() = ToTimestamp(time);
  }
}

absl::StatusOr<bundle::Manifest> ReadManifest(const fs::path& directory) {
  ASSIGN_OR_RETURN(
      const std::string json,
      bundle::ReadSmallFile(directory / "octet.json", kMaxManifestBytes));
  return bundle::ParseManifest(json);
}

absl::StatusOr<bundle::Manifest> ReadManifest(
    const bundle::DirectoryStore& bundles, std::string_view id) {
  ASSIGN_OR_RETURN(const fs::path directory, bundles.Find(id));
  absl::StatusOr<bundle::Manifest> manifest = ReadManifest(directory);
  if (!manifest.ok()) return bundles.WhyUnreadable(id, manifest.status());
  return manifest;
}

// The tar of a bundle, as fast as the client reads.
absl::Status SendArchive(const fs::path& directory,
                         Outbox<grpc::ByteBuffer>* outbox) {
  Download<v1::DownloadBundleResponse> download(
      [outbox](const grpc::ByteBuffer& m) { return outbox->Send(m); });
  RETURN_IF_ERROR(bundle::WriteArchive(
      directory, [&download](const bundle::ArchivePiece& piece) {
        return download.Add(piece.bytes, piece.file);
      }));
  return download.Flush();
}

// What is wrong in an uploaded bundle is the caller's; a digest that does not
// hold stays DATA_LOSS.
absl::Status AsCallersMistake(const absl::Status& status) {
  if (absl::IsNotFound(status) || absl::IsFailedPrecondition(status) ||
      absl::IsOutOfRange(status)) {
    return absl::InvalidArgumentError(status.message());
  }
  return status;
}

class UploadStream final : public StreamHandler<v1::UploadBundleRequest> {
 public:
  UploadStream(Backend* backend, v1::Bundle* response)
      : backend_(*backend),
        response_(response),
        tar_("tar", backend->max_upload_bytes) {}

  absl::Status OnMessage(const v1::UploadBundleRequest& message) override {
    if (message.has_header()) return Begin(message.header());
    if (!message.has_chunk()) {
      return FieldViolation("message", "neither a header nor a chunk is set");
    }
    const v1::BundleChunk& chunk = message.chunk();
    return tar_.Append(chunk.offset(), chunk.data(), chunk.crc32c());
  }

  absl::Status OnEnd() override {
    RETURN_IF_ERROR(tar_.ExpectEnd());
    ASSIGN_OR_RETURN(const fs::path staged, backend_.bundles.Stage(id_));
    if (absl::Status status = Publish(staged); !status.ok()) {
      backend_.bundles.Discard(id_).IgnoreError();
      return AsCallersMistake(status);
    }
    ASSIGN_OR_RETURN(const bundle::Manifest manifest,
                     ReadManifest(backend_.bundles, id_));
    Fill(id_, manifest, response_);
    return absl::OkStatus();
  }

 private:
  absl::Status Begin(const v1::UploadBundleHeader& header) {
    RETURN_IF_ERROR(tar_.ExpectHeader());
    id_ = header.bundle_id();
    RETURN_IF_ERROR(bundle::ValidateId("header.bundle_id", id_));
    ASSIGN_OR_RETURN(lease_,
                     backend_.leases.Acquire(ResourceName(kBundles, id_)));
    if (backend_.bundles.Find(id_).ok()) {
      return absl::AlreadyExistsError(
          model::StrCat("bundle '", id_, "' already exists"));
    }
    return tar_.Create(backend_.scratch / (id_ + ".tar"));
  }

  absl::Status Publish(const fs::path& staged) {
    RETURN_IF_ERROR(
        bundle::ReadArchive(tar_.path(), staged, backend_.max_upload_bytes));
    ASSIGN_OR_RETURN(const bundle::Bundle opened,
                     bundle::OpenBundle(staged, bundle::Verify::kDigests));
    RETURN_IF_ERROR(bundle::LoadModel(opened).status());
    return backend_.bundles.Publish(id_);
  }

  Backend& backend_;
  v1::Bundle* const response_;
  std::string id_;
  Lease lease_;  // before the file that only its holder writes
  UploadFile tar_;
};

// Downloads are written as slices.
using RawService = v1::BundleService::WithRawCallbackMethod_DownloadBundle<
    v1::BundleService::WithCallbackMethod_GetBundle<
        v1::BundleService::WithCallbackMethod_ListBundles<
            v1::BundleService::WithCallbackMethod_GetReport<
                v1::BundleService::WithCallbackMethod_RenderReport<
                    v1::BundleService::WithCallbackMethod_DeleteBundle<
                        v1::BundleService::WithCallbackMethod_UploadBundle<
                            v1::BundleService::Service>>>>>>>;

class BundleService final : public RawService {
 public:
  BundleService(const Edge& edge, const Edge& transfers, Backend* backend)
      : edge_(edge), transfers_(transfers), backend_(*backend) {}

  ServerUnaryReactor* GetBundle(CallbackServerContext* context,
                                const v1::GetBundleRequest* request,
                                v1::Bundle* response) override {
    return Reply(edge_, "BundleService/GetBundle", context, request, response,
                 [=, this](const Call&) -> absl::Status {
                   ASSIGN_OR_RETURN(
                       const std::string id,
                       ParseName("name", kBundles, request->name()));
                   ASSIGN_OR_RETURN(const bundle::Manifest manifest,
                                    ReadManifest(backend_.bundles, id));
                   Fill(id, manifest, response);
                   return absl::OkStatus();
                 });
  }

  ServerUnaryReactor* ListBundles(CallbackServerContext* context,
                                  const v1::ListBundlesRequest* request,
                                  v1::ListBundlesResponse* response) override {
    return Reply(edge_, "BundleService/ListBundles", context, request, response,
                 [=, this](const Call&) {
                   for (const std::string& id : backend_.bundles.List()) {
                     AddToList(id, response);
                   }
                   return absl::OkStatus();
                 });
  }

  ServerUnaryReactor* GetReport(CallbackServerContext* context,
                                const v1::GetReportRequest* request,
                                v1::QuantizationReport* response) override {
    return Reply(edge_, "BundleService/GetReport", context, request, response,
                 [=, this](const Call&) -> absl::Status {
                   ASSIGN_OR_RETURN(
                       const std::string id,
                       ParseName("name", kBundles, request->name()));
                   ASSIGN_OR_RETURN(const bundle::Manifest manifest,
                                    ReadManifest(backend_.bundles, id));
                   FillReport(manifest.report, response);
                   return absl::OkStatus();
                 });
  }

  ServerUnaryReactor* RenderReport(
      CallbackServerContext* context, const v1::RenderReportRequest* request,
      v1::RenderReportResponse* response) override {
    return Reply(edge_, "BundleService/RenderReport", context, request,
                 response, [=, this](const Call&) -> absl::Status {
                   ASSIGN_OR_RETURN(
                       const std::string id,
                       ParseName("name", kBundles, request->name()));
                   ASSIGN_OR_RETURN(const bundle::Manifest manifest,
                                    ReadManifest(backend_.bundles, id));
                   ASSIGN_OR_RETURN(*response->mutable_content(),
                                    bundle::ReportPage(id, manifest));
                   response->set_media_type("text/html; charset=utf-8");
                   return absl::OkStatus();
                 });
  }

  ServerUnaryReactor* DeleteBundle(CallbackServerContext* context,
                                   const v1::DeleteBundleRequest* request,
                                   google::protobuf::Empty* response) override {
    return Reply(edge_, "BundleService/DeleteBundle", context, request,
                 response, [=, this](const Call&) -> absl::Status {
                   ASSIGN_OR_RETURN(
                       const std::string id,
                       ParseName("name", kBundles, request->name()));
                   return rpc::DeleteBundle(backend_, id);
                 });
  }

  ServerWriteReactor<grpc::ByteBuffer>* DownloadBundle(
      CallbackServerContext* context,
      const grpc::ByteBuffer* message) override {
    return ServeDownload<v1::DownloadBundleRequest>(
        transfers_, "BundleService/DownloadBundle", context, message,
        [this](const v1::DownloadBundleRequest& request,
               Outbox<grpc::ByteBuffer>* outbox) {
          return Send(request, outbox);
        });
  }

  ServerReadReactor<v1::UploadBundleRequest>* UploadBundle(
      CallbackServerContext* context, v1::Bundle* response) override {
    return Consume<v1::UploadBundleRequest>(
        edge_, "BundleService/UploadBundle", context, response,
        std::make_unique<UploadStream>(&backend_, response));
  }

 private:
  // One that was deleted meanwhile is left out.
  void AddToList(const std::string& id, v1::ListBundlesResponse* list) const {
    const auto manifest = ReadManifest(backend_.bundles, id);
    if (manifest.ok()) {
      Fill(id, *manifest, list->add_bundles());
    } else if (!absl::IsNotFound(manifest.status())) {
      v1::Bundle* unreadable = list->add_bundles();
      unreadable->set_name(ResourceName(kBundles, id));
      unreadable->set_problem(std::string(manifest.status().message()));
    }
  }

  absl::Status Send(const v1::DownloadBundleRequest& request,
                    Outbox<grpc::ByteBuffer>* outbox) const {
    ASSIGN_OR_RETURN(const std::string id,
                     ParseName("name", kBundles, request.name()));
    ASSIGN_OR_RETURN(const fs::path directory, backend_.bundles.Find(id));
    return SendArchive(directory, outbox);
  }

  const Edge edge_;
  const Edge transfers_;
  Backend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeBundleService(const Edge& files,
                                                 const Edge& transfers,
                                                 Backend* backend) {
  return std::make_unique<BundleService>(files, transfers, backend);
}

}  // namespace octet::rpc
