// CheckpointService: uploads, and what is there.

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/status_macros.h"
#include "octet/v1/checkpoint_service.grpc.pb.h"
#include "server/bundle/upload.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/checkpoints.h"
#include "server/rpc/messages.h"
#include "server/rpc/resources/backend.h"
#include "server/rpc/resources/dependencies.h"
#include "server/rpc/resources/resource_names.h"
#include "server/rpc/services.h"

namespace octet::rpc {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerReadReactor;
using grpc::ServerUnaryReactor;

std::vector<bundle::UploadFile> FromProto(
    const google::protobuf::RepeatedPtrField<v1::UploadedFile>& files) {
  std::vector<bundle::UploadFile> result;
  for (const v1::UploadedFile& file : files) {
    result.push_back({.path = file.path(),
                      .size_bytes = static_cast<uint64_t>(file.size_bytes()),
                      .sha256 = file.sha256()});
  }
  return result;
}

void FillFiles(const std::vector<bundle::UploadFile>& files,
               v1::Checkpoint* out) {
  for (const bundle::UploadFile& file : files) {
    v1::UploadedFile* item = out->add_files();
    item->set_path(file.path);
    item->set_size_bytes(static_cast<int64_t>(file.size_bytes));
    item->set_received_bytes(static_cast<int64_t>(file.received_bytes));
    item->set_sha256(file.sha256);
  }
}

absl::Status FillActive(const bundle::DirectoryStore& store,
                        std::string_view id, v1::Checkpoint* out) {
  ASSIGN_OR_RETURN(const auto directory, store.Find(id));
  const absl::StatusOr<CheckpointSummary> described =
      DescribeCheckpoint(directory);
  if (!described.ok()) return store.WhyUnreadable(id, described.status());
  const CheckpointSummary& summary = *described;
  out->set_name(ResourceName(kCheckpoints, id));
  out->set_state(v1::Checkpoint::STATE_ACTIVE);
  out->set_family(summary.graph.family);
  FillLayers(summary.graph, out->mutable_layers());
  out->set_parameter_count(summary.parameters);
  *out->mutable_create_time() = ToTimestamp(summary.create_time);
  FillFiles(summary.files, out);
  return absl::OkStatus();
}

absl::Status FillUploading(const bundle::DirectoryStore& store,
                           std::string_view id, v1::Checkpoint* out) {
  ASSIGN_OR_RETURN(const auto staged, store.FindStaged(id));
  ASSIGN_OR_RETURN(const auto files, bundle::Upload::Inspect(staged));
  // Of one that was published meanwhile, files would seem to be missing.
  RETURN_IF_ERROR(store.FindStaged(id).status());
  out->set_name(ResourceName(kCheckpoints, id));
  out->set_state(v1::Checkpoint::STATE_UPLOADING);
  FillFiles(files, out);
  return absl::OkStatus();
}

// One connection's part of an upload.
class UploadStream final : public StreamHandler<v1::UploadCheckpointRequest> {
 public:
  UploadStream(Backend* backend, v1::Checkpoint* response)
      : backend_(*backend), response_(response) {}

  absl::Status OnMessage(const v1::UploadCheckpointRequest& message) override {
    if (message.has_header()) return Begin(message.header());
    if (!message.has_chunk()) {
      return FieldViolation("message", "neither a header nor a chunk is set");
    }
    return Append(message.chunk());
  }

  absl::Status OnEnd() override {
    if (!upload_) return FieldViolation("header", "the stream ended before it");
    RETURN_IF_ERROR(upload_->Verify());
    RETURN_IF_ERROR(Validate());
    RETURN_IF_ERROR(Publish());
    return FillActive(backend_.checkpoints, id_, response_);
  }

 private:
  absl::Status Begin(const v1::UploadCheckpointHeader& header) {
    if (upload_) return FieldViolation("header", "comes once, at the start");
    id_ = header.checkpoint_id();
    RETURN_IF_ERROR(bundle::ValidateId("header.checkpoint_id", id_));
    for (int i = 0; i < header.files_size(); ++i) {
      if (header.files(i).size_bytes() >= 0) continue;
      return FieldViolation(model::StrCat("header.files[", i, "].size_bytes"),
                            "must not be negative");
    }
    ASSIGN_OR_RETURN(lease_,
                     backend_.leases.Acquire(ResourceName(kCheckpoints, id_)));
    return OpenUpload(header);
  }

  absl::Status OpenUpload(const v1::UploadCheckpointHeader& header) {
    const bool resumed = backend_.checkpoints.IsStaged(id_);
    ASSIGN_OR_RETURN(staged_, backend_.checkpoints.Stage(id_));
    bundle::UploadLimits limits;
    limits.max_total_bytes = backend_.max_upload_bytes;
    auto upload =
        bundle::Upload::Begin(staged_, FromProto(header.files()), limits);
    if (!upload.ok()) {
      if (!resumed) backend_.checkpoints.Discard(id_).IgnoreError();
      return InsideField("header", upload.status());
    }
    upload_ = *std::move(upload);
    return absl::OkStatus();
  }

  absl::Status Append(const v1::FileChunk& chunk) {
    if (!upload_) return FieldViolation("header", "must come before chunks");
    RETURN_IF_ERROR(CheckChunk(chunk.offset(), chunk.data().size()));
    return upload_->Append(chunk.path(), static_cast<uint64_t>(chunk.offset()),
                           chunk.data(), chunk.crc32c());
  }

  // What is wrong with the upload itself stays wrong. After an error of the
  // server (no space, no descriptors) it can be resumed, with nothing to send.
  absl::Status Validate() const {
    absl::Status status = ValidateCheckpoint(staged_);
    if (absl::IsInvalidArgument(status) || absl::IsUnimplemented(status)) {
      backend_.checkpoints.Discard(id_).IgnoreError();
    }
    return status;
  }

  absl::Status Publish() const {
    RETURN_IF_ERROR(backend_.checkpoints.Publish(id_));
    ASSIGN_OR_RETURN(const auto published, backend_.checkpoints.Find(id_));
    // It is published, state or not; the next start tries again.
    bundle::Upload::Forget(published).IgnoreError();
    return absl::OkStatus();
  }

  Backend& backend_;
  v1::Checkpoint* const response_;
  std::string id_;
  Lease lease_;
  std::filesystem::path staged_;
  std::optional<bundle::Upload> upload_;
};

class CheckpointService final : public v1::CheckpointService::CallbackService {
 public:
  CheckpointService(const Edge& edge, Backend* backend)
      : edge_(edge), backend_(*backend) {}

  ServerReadReactor<v1::UploadCheckpointRequest>* UploadCheckpoint(
      CallbackServerContext* context, v1::Checkpoint* response) override {
    return Consume<v1::UploadCheckpointRequest>(
        edge_, "CheckpointService/UploadCheckpoint", context, response,
        std::make_unique<UploadStream>(&backend_, response));
  }

  ServerUnaryReactor* GetCheckpoint(CallbackServerContext* context,
                                    const v1::GetCheckpointRequest* request,
                                    v1::Checkpoint* response) override {
    return Reply(edge_, "CheckpointService/GetCheckpoint", context, request,
                 response, [=, this](const Call&) -> absl::Status {
                   ASSIGN_OR_RETURN(
                       const std::string id,
                       ParseName("name", kCheckpoints, request->name()));
                   return Describe(id, response);
                 });
  }

  ServerUnaryReactor* ListCheckpoints(
      CallbackServerContext* context, const v1::ListCheckpointsRequest* request,
      v1::ListCheckpointsResponse* response) override {
    return Reply(edge_, "CheckpointService/ListCheckpoints", context, request,
                 response, [=, this](const Call&) {
                   List(response);
                   return absl::OkStatus();
                 });
  }

  ServerUnaryReactor* DeleteCheckpoint(
      CallbackServerContext* context,
      const v1::DeleteCheckpointRequest* request,
      google::protobuf::Empty* response) override {
    return Reply(edge_, "CheckpointService/DeleteCheckpoint", context, request,
                 response, [=, this](const Call&) -> absl::Status {
                   ASSIGN_OR_RETURN(
                       const std::string id,
                       ParseName("name", kCheckpoints, request->name()));
                   return rpc::DeleteCheckpoint(backend_, id);
                 });
  }

 private:
  absl::Status Describe(const std::string& id, v1::Checkpoint* out) const {
    const bundle::DirectoryStore& store = backend_.checkpoints;
    if (absl::Status uploading = FillUploading(store, id, out);
        !absl::IsNotFound(uploading)) {
      return uploading;
    }
    return FillActive(store, id, out);
  }

  // One that was deleted meanwhile is left out.
  void List(v1::ListCheckpointsResponse* response) const {
    std::vector<std::string> ids = backend_.checkpoints.List();
    const std::vector<std::string> staged = backend_.checkpoints.ListStaged();
    ids.insert(ids.end(), staged.begin(), staged.end());
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    for (const std::string& id : ids) {
      v1::Checkpoint checkpoint;
      const absl::Status described = Describe(id, &checkpoint);
      if (absl::IsNotFound(described)) continue;
      if (!described.ok()) {
        checkpoint.set_name(ResourceName(kCheckpoints, id));
        checkpoint.set_state(v1::Checkpoint::STATE_UNREADABLE);
        checkpoint.set_problem(std::string(described.message()));
      }
      *response->add_checkpoints() = std::move(checkpoint);
    }
  }

  const Edge edge_;
  Backend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeCheckpointService(const Edge& files,
                                                     Backend* backend) {
  return std::make_unique<CheckpointService>(files, backend);
}

}  // namespace octet::rpc
