#include "server/rpc/download.h"

#include "absl/types/span.h"

namespace octet::rpc {
namespace {

// Part of a mapped file, for as long as it is on its way.
class Sent {
 public:
  Sent(std::shared_ptr<const bundle::MappedFile> file, std::string_view bytes)
      : file_(std::move(file)), bytes_(bytes) {}
  ~Sent() {
    file_->Release(absl::MakeConstSpan(
        reinterpret_cast<const std::byte*>(bytes_.data()), bytes_.size()));
  }
  Sent(const Sent&) = delete;
  Sent& operator=(const Sent&) = delete;

 private:
  const std::shared_ptr<const bundle::MappedFile> file_;
  const std::string_view bytes_;
};

}  // namespace

grpc::Slice SliceOf(std::shared_ptr<const bundle::MappedFile> file,
                    std::string_view bytes) {
  return SliceOf(std::make_shared<const Sent>(std::move(file), bytes),
                 bytes.data(), bytes.size());
}

}  // namespace octet::rpc
