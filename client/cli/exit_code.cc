#include "client/cli/exit_code.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/format.h"
#include "client/lib/rpc_status.h"

namespace octet::cli {

const char kExitCodeHelp[] =
    "Exit codes:\n"
    "  0    done\n"
    "  1    internal or unknown error\n"
    "  2    wrong usage of this command\n"
    "  3    not found\n"
    "  4    invalid argument, failed precondition, out of range\n"
    "  5    already exists\n"
    "  6    unavailable, deadline exceeded, aborted: a retry may help\n"
    "  7    data loss (a checksum does not match)\n"
    "  8    cancelled by somebody else\n"
    "  9    resource exhausted: a queue or a limit is full\n"
    "  10   permission denied, unauthenticated\n"
    "  130  interrupted by Ctrl-C (quantize cancels its operation first)";

namespace {

// Only the server's answers carry details; errors about local files do not,
// and name the file.
bool FromServer(const absl::Status& status) {
  bool has_details = false;
  status.ForEachPayload(
      [&](absl::string_view, const absl::Cord&) { has_details = true; });
  return has_details;
}

}  // namespace

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kNotFound:
      return 3;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 4;
    case absl::StatusCode::kAlreadyExists:
      return 5;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
      return 6;
    case absl::StatusCode::kDataLoss:
      return 7;
    case absl::StatusCode::kCancelled:
      return 8;
    case absl::StatusCode::kResourceExhausted:
      return 9;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return 10;
    default:
      return 1;
  }
}

std::string Hint(const absl::Status& status, absl::string_view server) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return absl::StrCat("Is octet-server running at ", server,
                          "? Set --server or OCTET_SERVER.");
    case absl::StatusCode::kUnauthenticated:
      return "Give a token with --token-file or OCTET_CLIENT_TOKEN_FILE.";
    case absl::StatusCode::kDeadlineExceeded:
      return "Give it more time with --timeout.";
    case absl::StatusCode::kAlreadyExists:
      return FromServer(status) ? "Choose another id, or delete what is there."
                                : "";
    case absl::StatusCode::kNotFound:
      return FromServer(status) ? "The list commands show what is there." : "";
    case absl::StatusCode::kDataLoss:
      return "Bytes were damaged on the way or on disk: try again.";
    case absl::StatusCode::kUnimplemented:
      return absl::StrCat("The server at ", server,
                          " does not have this method: is it as new as this "
                          "client?");
    case absl::StatusCode::kResourceExhausted: {
      const auto delay = client::RetryDelay(status);
      if (absl::StrContains(status.message(), "larger than max")) {  // gRPC's
        return "Send less at once, or raise the server's --max-message-bytes.";
      }
      return delay.has_value()
                 ? absl::StrCat("Try again in ", FormatSpan(*delay), ".")
                 : "";
    }
    default:
      return "";
  }
}

}  // namespace octet::cli
