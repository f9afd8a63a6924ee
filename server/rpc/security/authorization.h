// Whether a call may go on: its method, its token, the policy.

#ifndef OCTET_SERVER_RPC_SECURITY_AUTHORIZATION_H_
#define OCTET_SERVER_RPC_SECURITY_AUTHORIZATION_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/rpc/security/text_file.h"
#include "server/rpc/security/tokens.h"
#include "server/telemetry/security_metrics.h"

namespace octet::rpc {

class Authorizer {
 public:
  // Follows the file: a changed one counts for the calls that come after, and
  // a broken one is logged and changes nothing.
  static absl::StatusOr<std::unique_ptr<Authorizer>> Open(
      const std::string& token_file, bool open_reflection,
      telemetry::SecurityMetrics* metrics);

  // `method` as on the wire; `authorization` is the header, empty when there
  // is none. UNAUTHENTICATED: no token, or one that is not known.
  // PERMISSION_DENIED: the token's role is too small.
  absl::Status Check(std::string_view method,
                     std::string_view authorization) const;

  // The name of the token; empty without a known one.
  std::string NameOf(std::string_view authorization) const;

 private:
  Authorizer(std::string file, bool open_reflection,
             telemetry::SecurityMetrics* metrics)
      : file_(std::move(file)),
        open_reflection_(open_reflection),
        metrics_(*metrics) {}

  absl::Status Load();
  void Reload();
  std::shared_ptr<const TokenTable> table() const;

  const std::string file_;
  const bool open_reflection_;
  telemetry::SecurityMetrics& metrics_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const TokenTable> table_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<FileWatch> watch_;  // last: it calls Reload
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_SECURITY_AUTHORIZATION_H_
