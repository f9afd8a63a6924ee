// At most one writer per resource: whoever holds the lease of a name may
// change it, everybody else is told at once.

#ifndef OCTET_SERVER_RPC_RESOURCES_LEASES_H_
#define OCTET_SERVER_RPC_RESOURCES_LEASES_H_

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace octet::rpc {

// Held as long as it lives.
using Lease = std::shared_ptr<const void>;

class Leases {
 public:
  // ABORTED when another call holds the lease of `name` ("bundles/x"). The
  // Leases must outlive what they gave.
  absl::StatusOr<Lease> Acquire(std::string_view name);

 private:
  absl::Mutex mutex_;
  std::set<std::string, std::less<>> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_RESOURCES_LEASES_H_
