// What the exit code of `octet` says, and what to do about an error.

#ifndef OCTET_CLIENT_CLI_EXIT_CODE_H_
#define OCTET_CLIENT_CLI_EXIT_CODE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace octet::cli {

inline constexpr int kExitUsage = 2;
inline constexpr int kExitInterrupted = 130;  // 128 + SIGINT, as shells have it

// The codes listed in kExitCodeHelp.
int ExitCode(const absl::Status& status);

extern const char kExitCodeHelp[];

// One line on what to change; empty when the error says it all.
std::string Hint(const absl::Status& status, absl::string_view server);

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_EXIT_CODE_H_
