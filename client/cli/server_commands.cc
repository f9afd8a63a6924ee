#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/lib/health.h"
#include "client/lib/status_macros.h"
#include "google/protobuf/struct.pb.h"

namespace octet::cli {
namespace {

google::protobuf::Struct Document(
    std::initializer_list<std::pair<const char*, std::string>> fields) {
  google::protobuf::Struct document;
  for (const auto& [key, value] : fields) {
    (*document.mutable_fields())[key].set_string_value(value);
  }
  return document;
}

absl::Status ShowHealth(Session& session, const std::string& service) {
  ASSIGN_OR_RETURN(const client::Health health,
                   client::CheckHealth(session.connection(), service));
  const std::string word = health == client::Health::kServing ? "SERVING"
                           : health == client::Health::kNotServing
                               ? "NOT_SERVING"
                               : "UNKNOWN";
  const std::string& server = session.connection().server();
  RETURN_IF_ERROR(session.Show(
      Document({{"server", server}, {"status", word}}),
      [&] { session.Print(absl::StrCat(server, " ", word, "\n")); }));
  return health == client::Health::kServing
             ? absl::OkStatus()
             : absl::UnavailableError(absl::StrCat(server, " is ", word));
}

}  // namespace

const char* Version() { return OCTET_VERSION; }

void AddServerCommands(CLI::App& app, Session& session) {
  auto service = std::make_shared<std::string>();
  CLI::App* health = app.add_subcommand(
      "health", "Ask whether the server takes requests; 0 only if it does");
  health->add_option("--service", *service,
                     "A service's full name, octet.v1.InferenceService");
  health->callback([=, &session] {
    session.Choose([=](Session& s) { return ShowHealth(s, *service); });
  });

  app.add_subcommand("version", "The version of this client")
      ->callback([&session] {
        session.Choose([](Session& s) {
          return s.Show(Document({{"version", Version()}}), [&] {
            s.Print(absl::StrCat("octet ", Version(), "\n"));
          });
        });
      });
}

}  // namespace octet::cli
