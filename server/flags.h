// What the command line and the environment say.

#ifndef OCTET_SERVER_FLAGS_H_
#define OCTET_SERVER_FLAGS_H_

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "server/rpc/server.h"

namespace octet {

struct Flags {
  rpc::ServerOptions server;
  absl::Duration grace;
  absl::Duration drain;
  std::string log_level;
};

// Flags win over OCTET_* variables, which win over defaults. Nothing, with
// the process's exit code in `exit_code`, when there is no server to run:
// --help, --version, or a flag that is wrong.
std::optional<Flags> ParseFlags(int argc, char** argv, int* exit_code);

}  // namespace octet

#endif  // OCTET_SERVER_FLAGS_H_
