#include "client/cli/session.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/exit_code.h"
#include "client/cli/terminal.h"
#include "client/lib/status_macros.h"
#include "google/protobuf/empty.pb.h"
#include "google/protobuf/util/json_util.h"

namespace octet::cli {

namespace {

// What was printed has to be written, to a disk that may be full. `error` is
// the errno of a write that failed before, if any.
absl::Status FlushOutput(int error) {
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  if (flushed && std::ferror(stdout) == 0) return absl::OkStatus();
  if (error == 0) error = errno;
  // CLI11 prints --version, and its errno is lost.
  return absl::UnknownError(
      absl::StrCat("cannot write the output",
                   error != 0 ? absl::StrCat(": ", std::strerror(error)) : ""));
}

}  // namespace

int Session::Run() {
  if (absl::Status status = Connect(); !status.ok()) return End(status);
  interrupt_.Watch([this] { connection_->Cancel(); });
  return End(action_(*this));
}

absl::Status Session::Connect() {
  client::ConnectOptions options;
  options.server = flags_.server;
  if (flags_.timeout_seconds > 0) {
    options.timeout = absl::Seconds(flags_.timeout_seconds);
  }
  ASSIGN_OR_RETURN(options.credentials,
                   client::LoadCredentials(flags_.credentials));
  if (!flags_.allow_plaintext_tokens) {
    RETURN_IF_ERROR(client::CheckToken(options.credentials, options.server));
  }
  connection_ = client::Connection::Open(options);
  return absl::OkStatus();
}

int Session::End(absl::Status status) const {
  status.Update(FlushOutput(print_error_));
  if (status.ok()) return 0;
  if (interrupted() && absl::IsCancelled(status)) {
    absl::FPrintF(stderr, "octet: interrupted\n");
    return kExitInterrupted;
  }
  absl::FPrintF(stderr, "octet: %s\n", client::Describe(status));
  const std::string hint = Hint(status, flags_.server);
  if (!hint.empty()) absl::FPrintF(stderr, "%s\n", hint);
  return ExitCode(status);
}

absl::Status Session::Show(const google::protobuf::Message& message,
                           const std::function<void()>& show) {
  if (!flags_.json) {
    show();
    return absl::OkStatus();
  }
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(message, &json, options)
           .ok()) {
    return absl::InternalError("the answer cannot be written as JSON");
  }
  Print(json);
  return absl::OkStatus();
}

absl::Status Session::Done(const absl::Status& status, absl::string_view what) {
  if (!status.ok()) return status;
  return Show(google::protobuf::Empty(),
              [&] { Print(absl::StrCat(what, "\n")); });
}

void Session::Print(absl::string_view text) {
  const size_t written = std::fwrite(text.data(), 1, text.size(), stdout);
  if (written < text.size() && print_error_ == 0) print_error_ = errno;
}

void Session::Print(const Table& table) {
  Print(table.Render(TerminalWidth(STDOUT_FILENO)));
}

Progress Session::StartProgress(absl::string_view label, Unit unit) const {
  return Progress(label, unit,
                  !flags_.no_progress && IsTerminal(STDERR_FILENO));
}

}  // namespace octet::cli
