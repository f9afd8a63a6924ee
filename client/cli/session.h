// What every command shares: the global flags, the connection, and how results
// are shown.

#ifndef OCTET_CLIENT_CLI_SESSION_H_
#define OCTET_CLIENT_CLI_SESSION_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/interrupt.h"
#include "client/cli/progress.h"
#include "client/cli/table.h"
#include "client/lib/connection.h"
#include "google/protobuf/message.h"

namespace octet::cli {

struct GlobalFlags {
  std::string server = "127.0.0.1:8001";
  client::CredentialFiles credentials;
  bool allow_plaintext_tokens = false;
  double timeout_seconds = 0;  // 0: none
  bool json = false;
  bool no_progress = false;
  bool exact_bytes = false;
};

class Session {
 public:
  using Action = std::function<absl::Status(Session&)>;

  GlobalFlags& flags() { return flags_; }
  bool exact() const { return flags_.exact_bytes; }
  bool json() const { return flags_.json; }
  bool interrupted() const { return interrupt_.happened(); }

  // The command that the arguments chose, for Run.
  void Choose(Action action) { action_ = std::move(action); }
  // Connects, runs the chosen command, reports its error; the exit code.
  int Run();
  // Reports an error, and output that could not be written; the exit code.
  int End(absl::Status status) const;

  client::Connection& connection() { return *connection_; }

  // Prints `message` as one JSON document with --json, and with `show`
  // otherwise.
  absl::Status Show(const google::protobuf::Message& message,
                    const std::function<void()>& show);

  // The same for something that may have failed.
  template <typename Message, typename ShowFn>
  absl::Status Show(const absl::StatusOr<Message>& message, ShowFn show) {
    if (!message.ok()) return message.status();
    return Show(*message, [&] { show(*message); });
  }

  // Says that something without a result was done; nothing with --json but {}.
  absl::Status Done(const absl::Status& status, absl::string_view what);

  // A failure shows in End.
  void Print(absl::string_view text);
  void Print(const Table& table);
  Progress StartProgress(absl::string_view label, Unit unit) const;

 private:
  absl::Status Connect();

  GlobalFlags flags_;
  Action action_;
  std::unique_ptr<client::Connection> connection_;
  Interrupt interrupt_;
  int print_error_ = 0;  // errno of the first Print that failed
};

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_SESSION_H_
