// A file over a stream of chunks with an offset and a CRC32C each: how bundles
// and calibrations travel.

#ifndef OCTET_CLIENT_LIB_FILE_STREAMS_H_
#define OCTET_CLIENT_LIB_FILE_STREAMS_H_

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/lib/checkpoint_files.h"
#include "client/lib/connection.h"
#include "client/lib/digest.h"
#include "client/lib/status_macros.h"

namespace octet::client {

template <typename Response>
absl::Status CheckChunk(const Response& chunk, int64_t expected_offset) {
  if (chunk.offset() != expected_offset) {
    return absl::DataLossError(absl::StrCat("chunk at byte ", chunk.offset(),
                                            " came where byte ",
                                            expected_offset, " was due"));
  }
  if (Crc32c(chunk.data()) != chunk.crc32c()) {
    return absl::DataLossError(
        absl::StrCat("the chunk at byte ", chunk.offset(),
                     " does not have its CRC32C; download again"));
  }
  return absl::OkStatus();
}

// Writes what `stream` brings to `path`. `on_chunk(chunk, received)` hears of
// every chunk that was written. DATA_LOSS for a damaged one; otherwise what the
// server says at the end.
template <typename Response, typename Stream, typename OnChunk>
absl::Status ReceiveFile(Call& call, Stream& stream,
                         const std::filesystem::path& path,
                         const OnChunk& on_chunk) {
  const auto cannot_write = [&] {
    return absl::UnknownError(absl::StrCat("cannot write ", path.string()));
  };
  std::ofstream file(path, std::ios::binary);
  Response chunk;
  int64_t received = 0;
  absl::Status status;
  while (status.ok() && stream.Read(&chunk)) {
    status = CheckChunk(chunk, received);
    if (!status.ok()) break;
    received += static_cast<int64_t>(chunk.data().size());
    file << chunk.data();
    if (!file) status = cannot_write();
    on_chunk(chunk, received);
  }
  if (!status.ok()) call.context().TryCancel();
  const absl::Status finished = FromGrpc(stream.Finish());
  RETURN_IF_ERROR(status);
  RETURN_IF_ERROR(finished);
  file.close();
  return file ? absl::OkStatus() : cannot_write();
}

// Sends `request`, which has its header, and then the file at `path` as its
// chunks. What the server says, where it ends the stream early, too.
template <typename Request, typename Stream>
absl::Status SendFile(Call& call, Stream& stream, Request request,
                      const std::filesystem::path& path, int64_t size,
                      const ProgressFn& progress) {
  bool open = stream.Write(request);
  absl::Status read;
  if (open) {
    read = ReadChunks(path, 0, size, [&](Chunk chunk) {
      auto& message = *request.mutable_chunk();
      message.set_offset(chunk.offset);
      message.set_crc32c(chunk.crc32c);
      message.set_data(std::move(chunk.data));
      const auto end =
          chunk.offset + static_cast<int64_t>(message.data().size());
      open = stream.Write(request);  // Finish tells why not
      if (open && progress) progress(end, size);
      return open;
    });
  }
  if (!read.ok()) call.context().TryCancel();
  if (open) stream.WritesDone();
  const absl::Status finished = FromGrpc(stream.Finish());
  RETURN_IF_ERROR(read);
  return finished;
}

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_FILE_STREAMS_H_
