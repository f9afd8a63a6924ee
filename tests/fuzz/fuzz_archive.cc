// ReadArchive: a stranger's tar never writes outside its directory, nor more
// than its limit; what it accepts packs again.

#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "server/bundle/archive.h"

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxBytes = 1 << 20;

// In memory where there is one: a fuzzer writes many files.
fs::path MakeRoot() {
  std::error_code error;
  const fs::path base = fs::is_directory("/dev/shm", error)
                            ? fs::path("/dev/shm")
                            : fs::temp_directory_path();
  std::string pattern = (base / "octet-fuzz-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) abort();
  return pattern;
}

struct Root {
  fs::path path = MakeRoot();
  ~Root() {
    std::error_code error;
    fs::remove_all(path, error);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Root root;
  const fs::path archive = root.path / "in.tar";
  const fs::path out = root.path / "out";
  std::ofstream(archive, std::ios::binary)
      .write(reinterpret_cast<const char*>(data),
             static_cast<std::streamsize>(size));
  fs::create_directory(out);
  const bool ok = octet::bundle::ReadArchive(archive, out, kMaxBytes).ok();
  if (std::distance(fs::directory_iterator(root.path), {}) != 2) abort();
  uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(out)) {
    if (entry.is_symlink()) abort();
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  if (bytes > kMaxBytes) abort();
  const auto discard = [](const octet::bundle::ArchivePiece&) {
    return absl::OkStatus();
  };
  if (ok && !octet::bundle::WriteArchive(out, discard).ok()) abort();
  fs::remove_all(out);
  return 0;
}
