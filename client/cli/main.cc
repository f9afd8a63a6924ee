// `octet`, the command line client.

#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/session.h"

namespace {

void AddGlobalFlags(CLI::App& app, octet::cli::GlobalFlags& flags) {
  app.add_option("--server", flags.server, "Address of octet-server, HOST:PORT")
      ->envname("OCTET_SERVER")
      ->capture_default_str();
  octet::client::CredentialFiles& files = flags.credentials;
  app.add_flag("--tls", files.tls,
               "TLS with the authorities that this system trusts")
      ->envname("OCTET_CLIENT_TLS");
  app.add_option("--tls-ca", files.ca,
                 "TLS with the authorities in this PEM file")
      ->envname("OCTET_CLIENT_TLS_CA");
  app.add_option("--tls-cert", files.certificate,
                 "Our certificate for mutual TLS, PEM")
      ->envname("OCTET_CLIENT_TLS_CERT");
  app.add_option("--tls-key", files.key, "Its key, PEM")
      ->envname("OCTET_CLIENT_TLS_KEY");
  app.add_option("--tls-server-name", files.server_name,
                 "Name on the server's certificate, where it does not name the "
                 "address of --server")
      ->envname("OCTET_CLIENT_TLS_SERVER_NAME");
  app.add_option("--token-file", files.token, "File with our bearer token")
      ->envname("OCTET_CLIENT_TOKEN_FILE");
  app.add_flag("--allow-plaintext-tokens", flags.allow_plaintext_tokens,
               "Send the token to other machines without TLS, too")
      ->envname("OCTET_CLIENT_ALLOW_PLAINTEXT_TOKENS");
  app.add_option("--timeout", flags.timeout_seconds,
                 "Deadline of each call in seconds (default: none); an upload "
                 "or a watch is one call")
      ->check(CLI::PositiveNumber);
  app.add_flag("--json", flags.json,
               "Print one JSON document (field names as in proto/octet/v1)");
  app.add_flag("--quiet,--no-progress", flags.no_progress,
               "No progress bars (there are none without a terminal)");
  app.add_flag("--bytes", flags.exact_bytes, "Sizes in bytes, not in MiB");
}

}  // namespace

int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape)
  octet::cli::Session session;
  CLI::App app(
      "Octet quantizes float models to INT8 and serves them. This is its "
      "client.\n\nThe main job: checkpoint upload, calibration create, "
      "calibration upload, quantize, model load, forward.",
      "octet");
  app.footer(octet::cli::kExitCodeHelp);
  app.set_version_flag("--version", octet::cli::Version());
  app.require_subcommand(1);
  app.fallthrough();  // global flags may stand after the command, too
  AddGlobalFlags(app, session.flags());
  octet::cli::AddCheckpointCommands(app, session);
  octet::cli::AddCalibrationCommands(app, session);
  octet::cli::AddQuantizeCommand(app, session);
  octet::cli::AddOperationCommands(app, session);
  octet::cli::AddBundleCommands(app, session);
  octet::cli::AddReportCommand(app, session);
  octet::cli::AddModelCommands(app, session);
  octet::cli::AddInferenceCommands(app, session);
  octet::cli::AddServerCommands(app, session);
  try {
    app.parse(argc, argv);
  } catch (const CLI::RequiredError& error) {
    // CLI11 misses the command before it finds what it does not know.
    const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
    if (unknown.empty()) app.exit(error);
    for (const std::string& word : unknown) {
      std::cerr << "octet: unknown argument '" << word << "'\n";
    }
    return octet::cli::kExitUsage;
  } catch (const CLI::ParseError& error) {
    // CLI11 has an exit code per kind of mistake; scripts need one.
    return app.exit(error) == 0 ? session.End(absl::OkStatus())
                                : octet::cli::kExitUsage;
  }
  return session.Run();
}
