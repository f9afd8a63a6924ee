// UploadCheckpoint: one attempt is one stream; between attempts the server is
// asked how far each file has come.

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "client/lib/checkpoint_files.h"
#include "client/lib/checkpoints.h"
#include "client/lib/status_macros.h"

namespace octet::client {
namespace {

using Files = std::vector<v1::UploadedFile>;

class Uploader {
 public:
  Uploader(Connection& connection, const std::filesystem::path& directory,
           absl::string_view id, Files files, const UploadOptions& options)
      : connection_(connection),
        directory_(directory),
        id_(id),
        files_(std::move(files)),
        options_(options) {
    for (const v1::UploadedFile& file : files_) total_ += file.size_bytes();
  }

  absl::StatusOr<v1::Checkpoint> Run();

 private:
  // Takes over received_bytes of an upload of the same files. The checkpoint
  // itself when it is ACTIVE with them.
  absl::StatusOr<std::optional<v1::Checkpoint>> LearnProgress();
  absl::StatusOr<v1::Checkpoint> Attempt();
  // False when the stream broke; why, Finish of the stream tells.
  absl::StatusOr<bool> SendFile(
      grpc::ClientWriter<v1::UploadCheckpointRequest>& stream,
      const v1::UploadedFile& file);
  int64_t Received() const;
  void Report() const;

  Connection& connection_;
  const std::filesystem::path& directory_;
  const std::string id_;
  Files files_;
  const UploadOptions& options_;
  int64_t total_ = 0;
  int64_t sent_ = 0;
};

bool SameFiles(const v1::Checkpoint& checkpoint, const Files& files) {
  std::map<std::string, int64_t> sizes;
  for (const auto& file : checkpoint.files()) {
    sizes[file.path()] = file.size_bytes();
  }
  return sizes.size() == files.size() &&
         std::all_of(files.begin(), files.end(), [&](const auto& file) {
           const auto it = sizes.find(file.path());
           return it != sizes.end() && it->second == file.size_bytes();
         });
}

// What another try can mend: a broken connection, the stream that the server
// has not yet given up, or one it saw end early for the same reason.
bool Resumable(const absl::Status& status) {
  return ConnectionBroke(status) || absl::IsAborted(status);
}

int64_t Uploader::Received() const {
  int64_t received = 0;
  for (const auto& file : files_) received += file.received_bytes();
  return received;
}

void Uploader::Report() const {
  if (options_.progress) options_.progress(sent_, total_);
}

absl::StatusOr<std::optional<v1::Checkpoint>> Uploader::LearnProgress() {
  absl::StatusOr<v1::Checkpoint> known = GetCheckpoint(connection_, id_);
  for (auto& file : files_) file.set_received_bytes(0);
  if (absl::IsNotFound(known.status())) return std::nullopt;
  RETURN_IF_ERROR(known.status());
  if (!SameFiles(*known, files_)) return std::nullopt;
  if (known->state() == v1::Checkpoint::STATE_ACTIVE) {
    return std::optional<v1::Checkpoint>(*std::move(known));
  }
  for (auto& file : files_) {
    for (const auto& held : known->files()) {
      if (held.path() == file.path()) {
        file.set_received_bytes(held.received_bytes());
      }
    }
  }
  return std::nullopt;
}

absl::StatusOr<bool> Uploader::SendFile(
    grpc::ClientWriter<v1::UploadCheckpointRequest>& stream,
    const v1::UploadedFile& file) {
  bool open = true;
  RETURN_IF_ERROR(ReadChunks(directory_ / file.path(), file.received_bytes(),
                             file.size_bytes(), [&](Chunk chunk) {
                               v1::UploadCheckpointRequest request;
                               v1::FileChunk& message =
                                   *request.mutable_chunk();
                               message.set_path(file.path());
                               message.set_offset(chunk.offset);
                               message.set_crc32c(chunk.crc32c);
                               message.set_data(std::move(chunk.data));
                               const auto bytes =
                                   static_cast<int64_t>(message.data().size());
                               open = stream.Write(request);
                               if (open) sent_ += bytes;
                               Report();
                               return open;
                             }));
  return open;
}

absl::StatusOr<v1::Checkpoint> Uploader::Attempt() {
  sent_ = Received();
  Report();
  Call call(connection_);
  v1::Checkpoint checkpoint;
  const auto stream =
      connection_.checkpoints().UploadCheckpoint(&call.context(), &checkpoint);
  v1::UploadCheckpointRequest request;
  v1::UploadCheckpointHeader& header = *request.mutable_header();
  header.set_checkpoint_id(id_);
  for (const auto& file : files_) {
    v1::UploadedFile& declared = *header.add_files();
    declared = file;
    declared.clear_received_bytes();
  }
  bool open = stream->Write(request);
  for (const auto& file : files_) {
    if (!open) break;
    absl::StatusOr<bool> sent = SendFile(*stream, file);
    if (!sent.ok()) {
      call.context().TryCancel();
      stream->Finish();
      return sent.status();
    }
    open = *sent;
  }
  if (open) stream->WritesDone();
  RETURN_IF_ERROR(FromGrpc(stream->Finish()));
  return checkpoint;
}

absl::StatusOr<v1::Checkpoint> Uploader::Run() {
  Backoff backoff(options_.retry);
  int64_t best = 0;
  for (bool first = true;; first = false) {
    absl::StatusOr<std::optional<v1::Checkpoint>> known = LearnProgress();
    absl::Status failure = known.status();
    if (failure.ok()) {
      // ACTIVE after our own bytes: only the answer was lost. ACTIVE before
      // them is somebody's checkpoint, and the server says so.
      if (known->has_value() && !first) return **std::move(known);
      if (Received() > best) backoff.Progressed();
      best = std::max(best, Received());
      absl::StatusOr<v1::Checkpoint> uploaded = Attempt();
      if (uploaded.ok()) return uploaded;
      failure = uploaded.status();
    }
    absl::Duration wait;
    if (!Resumable(failure) || !backoff.Next(&wait)) return failure;
    RETURN_IF_ERROR(connection_.Sleep(wait));
  }
}

}  // namespace

absl::StatusOr<v1::Checkpoint> UploadCheckpoint(
    Connection& connection, const std::filesystem::path& directory,
    absl::string_view id, const UploadOptions& options) {
  const auto on_hashed = [&](int64_t done, int64_t total) {
    if (options.hashing) options.hashing(done, total);
    return connection.CheckCancelled();
  };
  ASSIGN_OR_RETURN(Files files, ListCheckpointFiles(directory, on_hashed));
  return Uploader(connection, directory, id, std::move(files), options).Run();
}

}  // namespace octet::client
