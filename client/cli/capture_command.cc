#include "client/cli/capture_command.h"

#include <cstdio>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/calibration_summary.h"
#include "client/lib/calibrations.h"
#include "client/lib/status_macros.h"

namespace octet::cli {
namespace {

constexpr absl::Duration kLookAgain = absl::Milliseconds(500);

struct CaptureArguments {
  std::string calibration;
  std::string model;
  double rate = 1;
  int64_t samples = 0;
  std::string duration;
  bool wait = false;
  bool stop = false;
};

// Empty when it is one, for CLI11.
std::string CheckDuration(const std::string& text) {
  absl::Duration duration;
  if (absl::ParseDuration(text, &duration)) return "";
  return "'" + text + "' is no duration such as 90s, 30m or 24h";
}

absl::StatusOr<v1::Calibration> Start(Session& session,
                                      const CaptureArguments& arguments) {
  client::CaptureOptions options;
  options.rate = arguments.rate;
  options.max_samples = arguments.samples;
  if (!arguments.duration.empty() &&
      !absl::ParseDuration(arguments.duration, &options.max_duration)) {
    return absl::InvalidArgumentError(CheckDuration(arguments.duration));
  }
  return client::StartCapture(session.connection(), arguments.calibration,
                              arguments.model, options);
}

absl::StatusOr<v1::Calibration> AwaitEnd(Session& session,
                                         const std::string& id) {
  Progress progress = session.StartProgress("capturing", Unit::kSteps);
  while (true) {
    ASSIGN_OR_RETURN(v1::Calibration calibration,
                     client::GetCalibrationSummary(session.connection(), id));
    const v1::Capture& capture = calibration.capture();
    if (capture.state() != v1::Capture::STATE_RUNNING) return calibration;
    progress.Update(capture.taken_samples(), capture.max_samples());
    absl::SleepFor(kLookAgain);
  }
}

// Ctrl-C ends the capture too, which keeps what it took.
absl::StatusOr<v1::Calibration> StartAndWait(
    Session& session, const CaptureArguments& arguments) {
  const std::string& id = arguments.calibration;
  absl::StatusOr<v1::Calibration> last = Start(session, arguments);
  if (last.ok()) last = AwaitEnd(session, id);
  if (last.ok() || !session.interrupted()) return last;
  absl::FPrintF(stderr, "octet: stopping the capture\n");
  session.connection().Resume();
  return client::StopCapture(session.connection(), id);
}

absl::Status Run(Session& session, const CaptureArguments& arguments) {
  const absl::StatusOr<v1::Calibration> calibration =
      arguments.stop
          ? client::StopCapture(session.connection(), arguments.calibration)
      : arguments.wait ? StartAndWait(session, arguments)
                       : Start(session, arguments);
  return session.Show(calibration,
                      [&](const auto& c) { ShowSummary(session, c); });
}

}  // namespace

void AddCaptureCommand(CLI::App* group, Session& session) {
  CLI::App* capture = group->add_subcommand(
      "capture",
      "Add a share of what a served model is asked; the server needs "
      "--allow-capture");
  const auto arguments = std::make_shared<CaptureArguments>();
  capture->add_option("ID", arguments->calibration, "One that exists")
      ->required();
  CLI::Option* model =
      capture->add_option("--model", arguments->model, "Whose requests");
  CLI::Option* rate =
      capture
          ->add_option("--rate", arguments->rate,
                       "Share of computations, above 0, at most 1")
          ->check(CLI::Range(0.0, 1.0))
          ->capture_default_str();
  CLI::Option* samples = capture
                             ->add_option("--samples", arguments->samples,
                                          "Stop after so many; 0: 512")
                             ->check(CLI::NonNegativeNumber);
  CLI::Option* duration =
      capture
          ->add_option("--duration", arguments->duration,
                       "Stop after that time, such as 30m; an hour unless said")
          ->check(CheckDuration);
  CLI::Option* wait =
      capture->add_flag("--wait", arguments->wait, "Until it is over");
  CLI::Option* stop = capture->add_flag("--stop", arguments->stop,
                                        "Stop the one that goes into ID");
  for (CLI::Option* option : {model, rate, samples, duration, wait}) {
    stop->excludes(option);
  }
  capture->callback([=, &session] {
    if (!arguments->stop && arguments->model.empty()) {
      throw CLI::RequiredError("--model or --stop");
    }
    session.Choose([=](Session& s) { return Run(s, *arguments); });
  });
}

}  // namespace octet::cli
