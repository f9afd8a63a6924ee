#include "client/cli/interrupt.h"

#include <unistd.h>

#include <utility>

#include "client/cli/exit_code.h"

namespace octet::cli {

Interrupt::Interrupt() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

void Interrupt::Watch(std::function<void()> on_first) {
  on_first_ = std::move(on_first);
  thread_ = std::jthread([this](const std::stop_token& stop) { Wait(stop); });
}

Interrupt::~Interrupt() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void Interrupt::Wait(const std::stop_token& stop) {
  // Short waits, so that a command that is done ends without a signal.
  const timespec moment = {0, 20'000'000};
  while (!stop.stop_requested()) {
    if (sigtimedwait(&signals_, nullptr, &moment) < 0) continue;
    if (happened_.exchange(true)) _exit(kExitInterrupted);
    on_first_();
  }
}

}  // namespace octet::cli
