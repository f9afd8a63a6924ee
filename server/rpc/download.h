// Files on their way to a client, in messages of at most 1 MiB.
//
//   what is mapped   goes out from where it is mapped, and out of memory then
//   what is small    is put together: headers between files, small files
//
// Every message says its offset and the CRC32C of its data. That reads the
// file, so that it is the caller's thread which waits for the disk, not gRPC's.

#ifndef OCTET_SERVER_RPC_DOWNLOAD_H_
#define OCTET_SERVER_RPC_DOWNLOAD_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "grpcpp/support/slice.h"
#include "kernels/status_macros.h"
#include "server/bundle/mapped_file.h"
#include "server/bundle/upload.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/wire/message.h"

namespace octet::rpc {

// Bytes of `file` where they are mapped. Their pages leave memory when the
// slice is gone: a download of any size takes what is on its way.
grpc::Slice SliceOf(std::shared_ptr<const bundle::MappedFile> file,
                    std::string_view bytes);

// `Response` has the fields offset, data and crc32c.
template <typename Response>
class Download {
 public:
  // False: the client is gone.
  using SendMessage = std::function<bool(const grpc::ByteBuffer&)>;

  // `fields` are those that all messages have in common.
  explicit Download(SendMessage send, Response fields = {})
      : send_(std::move(send)), fields_(std::move(fields)) {}

  // The next bytes, which `file` keeps, if it is there. CANCELLED once the
  // client is gone.
  absl::Status Add(std::string_view bytes,
                   const std::shared_ptr<const bundle::MappedFile>& file) {
    if (file == nullptr) return Gather(bytes);
    while (bytes.size() >= kLeastMapped) {
      RETURN_IF_ERROR(Flush());
      const std::string_view piece = bytes.substr(0, kMostInMessage);
      RETURN_IF_ERROR(Send(piece, SliceOf(file, piece)));
      bytes.remove_prefix(piece.size());
    }
    return Gather(bytes);
  }

  // What was put together since.
  absl::Status Flush() {
    if (gathered_.empty()) return absl::OkStatus();
    std::vector<char> bytes = std::exchange(gathered_, {});
    const std::string_view view(bytes.data(), bytes.size());
    return Send(view, rpc::SliceOf(std::move(bytes)));
  }

 private:
  // Big enough to make calls rare, small enough to be buffered per client.
  static constexpr size_t kMostInMessage = size_t{1} << 20;
  // What costs more as a message of its own than to copy.
  static constexpr size_t kLeastMapped = size_t{64} << 10;

  absl::Status Gather(std::string_view bytes) {
    if (gathered_.size() + bytes.size() > kMostInMessage) {
      RETURN_IF_ERROR(Flush());
    }
    gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
    return absl::OkStatus();
  }

  absl::Status Send(std::string_view bytes, const grpc::Slice& data) {
    fields_.set_offset(static_cast<int64_t>(offset_));
    fields_.set_crc32c(bundle::Crc32c(bytes));
    offset_ += bytes.size();
    if (send_(MakeMessage(LargeField(&fields_), fields_, {&data, 1}))) {
      return absl::OkStatus();
    }
    return absl::CancelledError("the client is gone");
  }

  const SendMessage send_;
  Response fields_;
  std::vector<char> gathered_;
  uint64_t offset_ = 0;
};

// The call of a download: `send(request, outbox)` runs on a worker that may
// wait for the client, and its status is the call's.
template <typename Request, typename Send>
grpc::ServerWriteReactor<grpc::ByteBuffer>* ServeDownload(
    const Edge& transfers, std::string_view method,
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* message,
    Send send) {
  auto* outbox = new Outbox<grpc::ByteBuffer>(transfers, method, context);
  outbox->scope().Received(message->Length());
  const auto answer = [outbox, send](grpc::ByteBuffer bytes) -> absl::Status {
    Request request;
    RETURN_IF_ERROR(ReceivedBytes().Parse(WirePath(), &bytes, &request));
    return send(request, outbox);
  };
  Enqueue(
      outbox->scope(), /*context=*/nullptr,
      [outbox, answer, bytes = *message](const Call&) {
        outbox->Close(Guarded([&] { return answer(bytes); }));
      },
      [outbox](const absl::Status& status) { outbox->Close(status); });
  return outbox;
}

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_DOWNLOAD_H_
