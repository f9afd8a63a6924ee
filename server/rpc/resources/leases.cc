#include "server/rpc/resources/leases.h"

#include "server/model/str_cat.h"

namespace octet::rpc {

absl::StatusOr<Lease> Leases::Acquire(std::string_view name,
                                      std::string_view holder) {
  absl::MutexLock lock(&mutex_);
  const auto [held, is_new] = held_.emplace(name, holder);
  if (!is_new) {
    return absl::AbortedError(model::StrCat(held->second, " is writing '", name,
                                            "'; try again when it is done"));
  }
  const std::string* key =
      &held->first;  // a map's elements stay where they are
  return Lease(key, [this](const void* released) {
    absl::MutexLock release(&mutex_);
    held_.erase(held_.find(*static_cast<const std::string*>(released)));
  });
}

}  // namespace octet::rpc
