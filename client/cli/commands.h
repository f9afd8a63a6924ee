// The commands of `octet`, one file per group. Each function adds its
// subcommands to `app`; the one that is parsed becomes the session's action.

#ifndef OCTET_CLIENT_CLI_COMMANDS_H_
#define OCTET_CLIENT_CLI_COMMANDS_H_

#include "client/cli/session.h"

namespace CLI {
class App;
}

namespace octet::cli {

void AddCheckpointCommands(CLI::App& app, Session& session);
void AddCalibrationCommands(CLI::App& app, Session& session);
void AddQuantizeCommand(CLI::App& app, Session& session);
void AddOperationCommands(CLI::App& app, Session& session);
void AddBundleCommands(CLI::App& app, Session& session);
void AddReportCommand(CLI::App& app, Session& session);
void AddModelCommands(CLI::App& app, Session& session);
void AddInferenceCommands(CLI::App& app, Session& session);
void AddServerCommands(CLI::App& app, Session& session);

// The version of this client.
const char* Version();

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_COMMANDS_H_
