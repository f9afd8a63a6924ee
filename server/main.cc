// octet-server: flags, wiring, signals; nothing else.

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/flags.h"
#include "server/rpc/server.h"
#include "server/telemetry/build_info.h"
#include "spdlog/sinks/stdout_color_sinks.h"
#include "spdlog/spdlog.h"

namespace {

void LogToStderr(const std::string& level) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("octet"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  spdlog::set_level(spdlog::level::from_str(level));
}

// `asked` with the port that was bound.
std::string Bound(const std::string& asked, int port) {
  if (absl::StartsWith(asked, "unix:")) return asked;
  return absl::StrCat(asked.substr(0, asked.rfind(':')), ":", port);
}

// Signals arrive where they are waited for: every thread started later
// inherits the mask.
sigset_t BlockStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

// A second signal cuts it short.
void Drain(octet::rpc::Server& server, const octet::Flags& flags,
           const sigset_t& signals) {
  std::atomic<bool> done = false;
  std::thread stopper([&] {
    server.Shutdown(flags.grace, flags.drain);
    done = true;
  });
  constexpr timespec kLookAgain = {.tv_sec = 0, .tv_nsec = 20'000'000};
  while (!done) {
    const int signal = sigtimedwait(&signals, nullptr, &kLookAgain);
    if (signal < 0) continue;
    spdlog::warn("stopping at once: signal {}", signal);
    server.Hurry();
  }
  stopper.join();
}

}  // namespace

int main(int argc, char** argv) {
  int exit_code = EXIT_SUCCESS;
  const std::optional<octet::Flags> flags =
      octet::ParseFlags(argc, argv, &exit_code);
  if (!flags) return exit_code;
  LogToStderr(flags->log_level);
  const sigset_t signals = BlockStopSignals();

  absl::StatusOr<std::unique_ptr<octet::rpc::Server>> server =
      octet::rpc::Server::Start(flags->server);
  if (!server.ok()) {
    spdlog::critical("cannot start: {}",
                     std::string(server.status().message()));
    return EXIT_FAILURE;
  }
  spdlog::info("ready grpc={} metrics={}",
               Bound(flags->server.grpc_address, (*server)->grpc_port()),
               Bound(flags->server.metrics_address, (*server)->metrics_port()));

  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("stopping: signal {}", signal);
  Drain(**server, *flags, signals);
  spdlog::info("stopped");
  return EXIT_SUCCESS;
}
