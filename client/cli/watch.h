// Watching an operation with a progress bar.

#ifndef OCTET_CLIENT_CLI_WATCH_H_
#define OCTET_CLIENT_CLI_WATCH_H_

#include <string>

#include "absl/status/status.h"
#include "client/cli/session.h"

namespace octet::cli {

// Watches until the operation is done, shows it and returns its outcome.
absl::Status Watch(Session& session, const std::string& name);

// The same, and Ctrl-C cancels the operation on the server and waits for its
// end.
absl::Status WatchOrCancel(Session& session, const std::string& name);

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_WATCH_H_
