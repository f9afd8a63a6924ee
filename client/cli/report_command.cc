#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/report_table.h"
#include "client/cli/terminal.h"
#include "client/lib/bundles.h"
#include "client/lib/status_macros.h"

namespace octet::cli {
namespace {

struct ReportArguments {
  std::string bundle;
  std::string html;
};

absl::Status WritePage(Session& session, const ReportArguments& arguments) {
  ASSIGN_OR_RETURN(
      const v1::RenderReportResponse page,
      client::RenderReport(session.connection(), arguments.bundle));
  std::ofstream file(arguments.html, std::ios::binary);
  file << page.content();
  file.close();
  if (!file) {
    return absl::UnknownError(absl::StrCat("cannot write ", arguments.html));
  }
  return session.Done(absl::OkStatus(), absl::StrCat("wrote ", arguments.html));
}

absl::Status ShowReport(Session& session, const ReportArguments& arguments) {
  if (!arguments.html.empty()) return WritePage(session, arguments);
  return session.Show(
      client::GetReport(session.connection(), arguments.bundle),
      [&](const v1::QuantizationReport& report) {
        session.Print(ReportText(
            report, {TerminalWidth(STDOUT_FILENO), session.exact()}));
      });
}

}  // namespace

void AddReportCommand(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand(
      "report", "What quantization did, per layer and for the whole model");
  auto arguments = std::make_shared<ReportArguments>();
  command->add_option("BUNDLE", arguments->bundle)->required();
  command->add_option("--html", arguments->html,
                      "Write it to this file as a page with plots");
  command->callback([=, &session] {
    session.Choose([=](Session& s) { return ShowReport(s, *arguments); });
  });
}

}  // namespace octet::cli
