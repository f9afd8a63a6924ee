// Regions of POSIX shared memory that clients on this machine registered.
//
// A region is read and written through its descriptor, not through a mapping:
// a client that shrinks the object after it was registered gets an error, where
// a mapping would end the server with SIGBUS; and what is computed is a copy,
// which the client cannot change once it was checked. The kernel copies at the
// speed of memory.

#ifndef OCTET_SERVER_RPC_OIP_SHARED_MEMORY_H_
#define OCTET_SERVER_RPC_OIP_SHARED_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "server/bundle/io.h"

namespace octet::rpc::oip {

// Open for as long as somebody holds it, registered or not.
class SharedRegion {
 public:
  // INVALID_ARGUMENT naming `key`, `offset` or `byte_size`; NOT_FOUND when
  // there is no such object; PERMISSION_DENIED.
  static absl::StatusOr<std::shared_ptr<const SharedRegion>> Open(
      std::string key, uint64_t offset, uint64_t byte_size);

  const std::string& key() const { return key_; }
  uint64_t offset() const { return offset_; }
  uint64_t byte_size() const { return byte_size_; }

  // `at` is within the region. INVALID_ARGUMENT when the bytes are not all
  // inside of the region, or not in the object any more.
  absl::Status Read(uint64_t at, absl::Span<char> to) const;
  absl::Status Write(uint64_t at, std::string_view from) const;
  absl::Status CheckRange(uint64_t at, uint64_t size) const;

 private:
  SharedRegion(std::string key, uint64_t offset, uint64_t byte_size,
               bundle::FileDescriptor file);
  absl::Status CheckObject(uint64_t end) const;

  const std::string key_;
  const uint64_t offset_;
  const uint64_t byte_size_;
  const bundle::FileDescriptor file_;
};

class SharedMemory {
 public:
  using RegionPtr = std::shared_ptr<const SharedRegion>;

  // Where it is not allowed, Register and Find are FAILED_PRECONDITION, which
  // names the flag.
  explicit SharedMemory(bool allowed) : allowed_(allowed) {}

  bool allowed() const { return allowed_; }

  // ALREADY_EXISTS; RESOURCE_EXHAUSTED beyond 256 regions; as Open.
  absl::Status Register(const std::string& name, const std::string& key,
                        uint64_t offset, uint64_t byte_size);
  // Requests that use it finish. Nothing happens when there is none.
  void Unregister(std::string_view name);
  void UnregisterAll();

  absl::StatusOr<RegionPtr> Find(std::string_view name) const;
  std::map<std::string, RegionPtr, std::less<>> List() const;

 private:
  absl::Status CheckAllowed() const;

  const bool allowed_;
  mutable absl::Mutex mutex_;
  std::map<std::string, RegionPtr, std::less<>> regions_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace octet::rpc::oip

#endif  // OCTET_SERVER_RPC_OIP_SHARED_MEMORY_H_
