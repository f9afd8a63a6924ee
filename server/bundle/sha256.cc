#include "server/bundle/sha256.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/escaping.h"
#include "kernels/status_macros.h"
#include "server/bundle/io.h"

namespace octet::bundle {
namespace {

class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    ok_ = context_ != nullptr &&
          EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1;
  }

  void Add(const void* data, size_t size) {
    ok_ = ok_ && EVP_DigestUpdate(context_.get(), data, size) == 1;
  }

  absl::StatusOr<std::string> Hex() {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (!ok_ || EVP_DigestFinal_ex(context_.get(), bytes, &size) != 1) {
      return absl::InternalError("OpenSSL offers no SHA-256");
    }
    return absl::BytesToHexString(
        std::string(reinterpret_cast<const char*>(bytes), size));
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
  bool ok_ = false;
};

}  // namespace

absl::StatusOr<std::string> Sha256(std::string_view bytes) {
  Digest digest;
  digest.Add(bytes.data(), bytes.size());
  return digest.Hex();
}

absl::StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path) {
  uint64_t size = 0;
  ASSIGN_OR_RETURN(const FileDescriptor fd, OpenRegularFile(path, &size));
  Digest digest;
  std::vector<char> buffer(size_t{1} << 18);
  while (true) {
    const ssize_t got = read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus("read", path);
    if (got == 0) return digest.Hex();
    digest.Add(buffer.data(), static_cast<size_t>(got));
  }
}

bool IsSha256(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace octet::bundle
