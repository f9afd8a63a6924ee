// octet calibration capture: live traffic into a calibration.

#ifndef OCTET_CLIENT_CLI_CAPTURE_COMMAND_H_
#define OCTET_CLIENT_CLI_CAPTURE_COMMAND_H_

#include "client/cli/session.h"

namespace CLI {
class App;
}

namespace octet::cli {

// Adds the command to the group `calibration`.
void AddCaptureCommand(CLI::App* group, Session& session);

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_CAPTURE_COMMAND_H_
