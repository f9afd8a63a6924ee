// Ctrl-C and SIGTERM as a callback on an ordinary thread, where locks and calls
// are allowed. The second one ends the process at once.

#ifndef OCTET_CLIENT_CLI_INTERRUPT_H_
#define OCTET_CLIENT_CLI_INTERRUPT_H_

#include <signal.h>

#include <atomic>
#include <functional>
#include <thread>

namespace octet::cli {

class Interrupt {
 public:
  // To be made before any other thread, which inherit the blocked signals.
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // Calls `on_first` at the first signal, also one that came before.
  void Watch(std::function<void()> on_first);

  bool happened() const { return happened_; }

 private:
  void Wait(const std::stop_token& stop);

  sigset_t signals_;
  std::function<void()> on_first_;
  std::atomic<bool> happened_ = false;
  std::jthread thread_;
};

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_INTERRUPT_H_
