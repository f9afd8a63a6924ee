#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/watch.h"
#include "client/lib/operations.h"
#include "client/lib/status_macros.h"

namespace octet::cli {
namespace {

absl::Duration Age(const v1::Operation& operation) {
  return absl::Seconds(operation.end_time().seconds() -
                       operation.create_time().seconds()) +
         absl::Nanoseconds(operation.end_time().nanos() -
                           operation.create_time().nanos());
}

void ShowOperation(Session& session, const v1::Operation& operation) {
  std::string line =
      absl::StrCat(operation.name(), " of ", operation.checkpoint(), " ",
                   StateName(operation.state()));
  if (client::IsDone(operation)) {
    absl::StrAppend(&line, " after ", FormatSpan(Age(operation)));
  } else if (operation.progress().total_steps() > 0) {
    absl::StrAppendFormat(
        &line, ": %s, step %d of %d", operation.progress().stage(),
        operation.progress().done_steps(), operation.progress().total_steps());
  }
  if (!operation.bundle().empty()) {
    absl::StrAppend(&line, ": ", operation.bundle());
  }
  if (operation.has_error()) {
    absl::StrAppend(&line, ": ", operation.error().message());
  }
  session.Print(line + "\n");
}

void ShowList(Session& session, const v1::ListOperationsResponse& list) {
  Table table({{"OPERATION", Align::kLeft, /*shrinks=*/true},
               {"STATE"},
               {"CHECKPOINT", Align::kLeft, true},
               {"BUNDLE", Align::kLeft, true},
               {"STEPS", Align::kRight, false, /*optional=*/true},
               {"CREATED", Align::kLeft, false, true}});
  for (const auto& operation : list.operations()) {
    table.AddRow({operation.name(), StateName(operation.state()),
                  operation.checkpoint(), operation.bundle(),
                  absl::StrCat(operation.progress().done_steps(), "/",
                               operation.progress().total_steps()),
                  FormatTime(operation.create_time())});
  }
  session.Print(table);
}

absl::StatusOr<v1::Operation> WatchWithBar(Session& session,
                                           const std::string& name) {
  Progress progress = session.StartProgress("quantizing", Unit::kSteps);
  return client::WatchOperation(
      session.connection(), name, client::RetryPolicy(),
      [&](const v1::Operation& operation) {
        const auto& at = operation.progress();
        progress.Update(at.done_steps(), at.total_steps(),
                        absl::StrCat(at.stage(), " ", at.layer()));
      });
}

}  // namespace

absl::Status Watch(Session& session, const std::string& name) {
  absl::StatusOr<v1::Operation> last = WatchWithBar(session, name);
  RETURN_IF_ERROR(session.Show(
      last, [&](const v1::Operation& o) { ShowOperation(session, o); }));
  return client::Outcome(*last);
}

absl::Status WatchOrCancel(Session& session, const std::string& name) {
  absl::StatusOr<v1::Operation> last = WatchWithBar(session, name);
  if (session.interrupted() && absl::IsCancelled(last.status())) {
    absl::FPrintF(stderr,
                  "octet: cancelling %s; Ctrl-C again does not wait for it\n",
                  name);
    session.connection().Resume();
    const absl::Status asked =
        client::CancelOperation(session.connection(), name).status();
    // FAILED_PRECONDITION: it was done before the request came.
    if (!asked.ok() && !absl::IsFailedPrecondition(asked)) return asked;
    last = WatchWithBar(session, name);
  }
  RETURN_IF_ERROR(session.Show(
      last, [&](const v1::Operation& o) { ShowOperation(session, o); }));
  return client::Outcome(*last);
}

void AddOperationCommands(CLI::App& app, Session& session) {
  CLI::App* group =
      app.add_subcommand("operation", "Quantizations that run or have run");
  group->require_subcommand(1);
  auto id = std::make_shared<std::string>();

  CLI::App* get = group->add_subcommand("get", "One, as it is now");
  get->add_option("ID", *id)->required();
  get->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Show(client::GetOperation(s.connection(), *id),
                    [&](const auto& o) { ShowOperation(s, o); });
    });
  });

  group->add_subcommand("list", "All of them, newest first")
      ->callback([&session] {
        session.Choose([](Session& s) {
          return s.Show(client::ListOperations(s.connection()),
                        [&](const auto& list) { ShowList(s, list); });
        });
      });

  CLI::App* watch = group->add_subcommand(
      "watch", "Follow one until it is done; its outcome is the exit code");
  watch->add_option("ID", *id)->required();
  watch->callback([=, &session] {
    session.Choose([=](Session& s) { return Watch(s, *id); });
  });

  CLI::App* cancel = group->add_subcommand("cancel", "Ask one to stop");
  cancel->add_option("ID", *id)->required();
  cancel->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Show(client::CancelOperation(s.connection(), *id),
                    [&](const auto& o) { ShowOperation(s, o); });
    });
  });
}

}  // namespace octet::cli
