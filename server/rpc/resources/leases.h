// At most one writer per resource: whoever holds the lease of a name may
// change it, everybody else is told at once.

#ifndef OCTET_SERVER_RPC_RESOURCES_LEASES_H_
#define OCTET_SERVER_RPC_RESOURCES_LEASES_H_

#include <map>
#include <memory>
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
  static constexpr std::string_view kCall = "another call";

  // ABORTED when somebody holds the lease of `name` ("bundles/x"); `holder` is
  // how that somebody is called then. The Leases must outlive what they gave.
  absl::StatusOr<Lease> Acquire(std::string_view name,
                                std::string_view holder = kCall);

 private:
  absl::Mutex mutex_;
  std::map<std::string, std::string, std::less<>> held_  // name -> holder
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_RESOURCES_LEASES_H_
