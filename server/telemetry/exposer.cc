#include "server/telemetry/exposer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "prometheus/exposer.h"
#include "prometheus/registry.h"
#include "server/telemetry/process_metrics.h"

namespace octet::telemetry {
namespace {

void ConnectOnce(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // Whether it connects or not does not matter: see StopPromptly.
  static_cast<void>(connect(fd, reinterpret_cast<const sockaddr*>(&address),
                            sizeof(address)));
  close(fd);
}

// civetweb's listener looks at its stop flag only when poll() returns, every
// two seconds. A connection wakes it, so that a server does not end two
// seconds late. (One that listens elsewhere than on loopback still does.)
void StopPromptly(std::unique_ptr<prometheus::Exposer> server) {
  const int port = server->GetListeningPorts().front();
  std::atomic<bool> stopped = false;
  std::thread waker([&] {
    while (!stopped) {
      ConnectOnce(port);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  server.reset();
  stopped = true;
  waker.join();
}

}  // namespace

class Exposer::Impl {
 public:
  // Two threads: one slow scraper must not shut out the other.
  Impl(const std::string& address, const Metrics& metrics)
      : registry_(metrics.registry()),
        server_(std::make_unique<prometheus::Exposer>(address,
                                                      /*num_threads=*/2)) {
    server_->RegisterCollectable(registry_);
    server_->RegisterCollectable(process_);
  }
  ~Impl() { StopPromptly(std::move(server_)); }

  int port() const { return server_->GetListeningPorts().front(); }

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  const std::shared_ptr<ProcessMetrics> process_ =
      std::make_shared<ProcessMetrics>();
  std::unique_ptr<prometheus::Exposer> server_;
};

absl::StatusOr<std::unique_ptr<Exposer>> Exposer::Start(
    const std::string& address, const Metrics& metrics) {
  // civetweb reports a port that is taken by throwing.
  try {
    return std::unique_ptr<Exposer>(
        new Exposer(std::make_unique<Impl>(address, metrics)));
  } catch (const std::exception& error) {
    return absl::UnavailableError("metrics address '" + address +
                                  "' cannot be bound: " + error.what());
  }
}

Exposer::Exposer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Exposer::~Exposer() = default;

int Exposer::port() const { return impl_->port(); }

}  // namespace octet::telemetry
