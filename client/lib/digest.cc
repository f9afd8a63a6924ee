#include "client/lib/digest.h"

#include <isa-l/crc.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <limits>
#include <memory>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "client/lib/status_macros.h"

namespace octet::client {

uint32_t Crc32c(absl::string_view data) {
  // ISA-L neither inverts the initial value nor the result, and counts bytes
  // in an int.
  uint32_t crc = 0xFFFFFFFFu;
  while (!data.empty()) {
    const size_t piece =
        std::min<size_t>(data.size(), std::numeric_limits<int>::max());
    // The buffer is only read; the signature predates const.
    auto* bytes =
        reinterpret_cast<unsigned char*>(const_cast<char*>(data.data()));
    crc = crc32_iscsi(bytes, static_cast<int>(piece), crc);
    data.remove_prefix(piece);
  }
  return ~crc;
}

absl::StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path,
                                         BlockFn on_block) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return CannotRead(path, errno);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(
      EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (context == nullptr ||
      EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) {
    return absl::InternalError("OpenSSL offers no SHA-256");
  }
  std::vector<char> buffer(size_t{1} << 20);
  while (file) {
    file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    EVP_DigestUpdate(context.get(), buffer.data(),
                     static_cast<size_t>(file.gcount()));
    RETURN_IF_ERROR(on_block(file.gcount()));
  }
  if (file.bad()) {
    return absl::DataLossError(absl::StrCat("cannot read ", path.string()));
  }
  std::string digest(EVP_MAX_MD_SIZE, '\0');
  unsigned int size = 0;
  EVP_DigestFinal_ex(context.get(),
                     reinterpret_cast<unsigned char*>(digest.data()), &size);
  digest.resize(size);
  return absl::BytesToHexString(digest);
}

}  // namespace octet::client
