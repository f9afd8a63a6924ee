// Small files that an operator writes: certificates, keys, tokens.

#ifndef OCTET_SERVER_RPC_SECURITY_TEXT_FILE_H_
#define OCTET_SERVER_RPC_SECURITY_TEXT_FILE_H_

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace octet::rpc {

// Errors name the file; one over 1 MiB is refused.
absl::StatusOr<std::string> ReadTextFile(const std::string& file);

// Calls `changed`, on a thread of its own, when one of the files was written or
// replaced since it was constructed, or a symbolic link on the way to it leads
// elsewhere (as in volumes of a cluster). Looks once a second.
class FileWatch {
 public:
  FileWatch(std::vector<std::string> files, std::function<void()> changed);
  ~FileWatch();

 private:
  void Run();

  const std::vector<std::string> files_;
  const std::function<void()> changed_;
  std::string seen_;  // state of the files
  absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_SECURITY_TEXT_FILE_H_
