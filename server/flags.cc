#include "server/flags.h"

#include <iostream>
#include <limits>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/telemetry/build_info.h"

namespace octet {
namespace {

constexpr int kUsageError = 2;

constexpr char kDescription[] =
    "Octet quantizes float models to INT8 and serves them over gRPC.\n\n"
    "Upload a Hugging Face checkpoint (safetensors), stream calibration data,\n"
    "quantize it into a bundle, load the bundle, and ask for matrix products\n"
    "or whole-model forward passes. Everything is kept in one directory and\n"
    "found again after a restart.";

constexpr char kExamples[] =
    "Examples:\n"
    "  octet-server\n"
    "      gRPC on port 8001, Prometheus metrics on http://HOST:8002/metrics,\n"
    "      data in ./octet-data\n"
    "  octet-server --grpc-address 127.0.0.1:9000 --data-dir /var/lib/octet\n"
    "  OCTET_THREADS=4 OCTET_LOG_LEVEL=debug octet-server\n\n"
    "SIGTERM and SIGINT stop it: health turns NOT_SERVING, admitted work is\n"
    "finished, the exit code is 0; a second one ends it at once. The service "
    "answers grpc.health.v1 and\n"
    "server reflection, so that grpcurl and load balancers work with it.";

// What CLI11 parses into; durations as seconds.
struct Raw {
  Flags flags;
  std::string data_directory = "octet-data";
  std::string reflection = "on";
  std::string int8_backend = "octet";
  double grace_seconds = 0;
  double drain_seconds = 20;
  uint64_t measure_memory_mib = 2048;
  uint64_t grpc_memory_mib = 4096;
  uint64_t client_max_mib = 1024;
  uint64_t max_answer_mib = 512;
  double slow_seconds = 1;
  double idle_seconds = 3600;
  double age_seconds = 0;
  double batch_wait_ms = 0;
};

rpc::Reflection ParseReflection(const std::string& word) {
  if (word == "off") return rpc::Reflection::kOff;
  return word == "open" ? rpc::Reflection::kOpen : rpc::Reflection::kOn;
}

// CLI::Range lets NaN through, for which no comparison is true.
CLI::Validator Between(double low, double high) {
  return {
      [=](const std::string& text) -> std::string {
        double value = 0.0;
        if (absl::SimpleAtod(text, &value) && value >= low && value <= high) {
          return "";
        }
        return absl::StrFormat("Value %s not in range %g to %g", text, low,
                               high);
      },
      absl::StrFormat("FLOAT in [%g - %g]", low, high)};
}

// gRPC would listen on some port of its own choice where it cannot read one.
// civetweb, behind /metrics, knows neither IPv6 here nor sockets with a path.
std::string AddressProblem(const std::string& address, bool http) {
  if (!http && absl::StartsWith(address, "unix:")) return "";
  const size_t colon = address.rfind(':');
  const std::string host = address.substr(0, colon);
  uint32_t port = 0;
  if (colon == std::string::npos || host.empty() ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port > 65535) {
    return absl::StrCat("'", address,
                        "' is not HOST:PORT with a port of 0 to 65535");
  }
  const bool ipv6 = host.front() == '[' && host.back() == ']';
  if (!ipv6 && absl::StrContains(host, ':')) {
    return absl::StrCat("'", address, "': an IPv6 address stands in brackets");
  }
  if (ipv6 && http) {
    return absl::StrCat("'", address,
                        "' is IPv6; metrics are served over IPv4 alone");
  }
  return "";
}

CLI::Validator ListenAddress(bool http) {
  return {[=](const std::string& text) { return AddressProblem(text, http); },
          ""};
}

// A flag of the form --name with the environment variable OCTET_NAME.
template <typename T>
CLI::Option* Add(CLI::App& app, const std::string& name, T& value,
                 const std::string& description) {
  std::string variable = "OCTET_" + name;
  for (char& c : variable) {
    c = c == '-' ? '_' : static_cast<char>(std::toupper(c));
  }
  return app.add_option("--" + name, value, description)
      ->envname(variable)
      ->capture_default_str();
}

void AddFlags(CLI::App& app, Raw& raw) {
  rpc::ServerOptions& server = raw.flags.server;
  Add(app, "grpc-address", server.grpc_address,
      "Where gRPC listens, HOST:PORT or unix:PATH; port 0 takes a free one")
      ->check(ListenAddress(/*http=*/false));
  Add(app, "metrics-address", server.metrics_address,
      "Where /metrics is served over HTTP, HOST:PORT; port 0 takes a free one")
      ->check(ListenAddress(/*http=*/true));
  Add(app, "tls-certificate", server.security.tls.chain,
      "Certificate chain of the gRPC port, PEM; without it the port speaks "
      "plaintext. Read again when it changes");
  Add(app, "tls-key", server.security.tls.key,
      "Its private key, PEM, without a password");
  Add(app, "tls-client-ca", server.security.tls.client_ca,
      "Who signs the certificates of clients, PEM; then every client has to "
      "show one");
  Add(app, "token-file", server.security.token_file,
      "Who may call: lines of NAME ROLE SHA256, the role infer or admin; "
      "without it everybody may. Read again when it changes");
  app.add_flag("--allow-plaintext-tokens",
               server.security.allow_plaintext_tokens,
               "Tokens without TLS on an address that is not local: for ports "
               "behind a proxy that encrypts")
      ->envname("OCTET_ALLOW_PLAINTEXT_TOKENS");
  Add(app, "reflection", raw.reflection,
      "Whether the server describes its API: off, on (with tokens: to those "
      "who have one), open (to anyone)")
      ->check(CLI::IsMember({"off", "on", "open"}));
  Add(app, "data-dir", raw.data_directory,
      "Directory of checkpoints, calibrations and bundles");
  Add(app, "threads", server.threads,
      "Threads that compute; 0: one for each usable CPU (affinity and cgroup "
      "quota count)")
      ->check(CLI::Range(0, 1024));
  Add(app, "int8-backend", raw.int8_backend,
      "Whose kernels multiply INT8 layers; the results are the same. Where "
      "onednn has none, octet's do")
      ->check(CLI::IsMember({"octet", "onednn"}));
  Add(app, "queue-capacity", server.queue_capacity,
      "Requests that may wait for each model; more are refused at once with "
      "RESOURCE_EXHAUSTED")
      ->check(CLI::Range(1, 1'000'000));
  Add(app, "queue-rows", server.queue_rows,
      "Rows (tokens, feature rows) that may wait for each model, likewise")
      ->check(CLI::Range(1, 1'000'000'000));
  Add(app, "batch-rows", server.batch_rows,
      "Rows that a thread takes at once, of several requests or a part of one; "
      "a sequence stays whole")
      ->check(CLI::Range(1, 1'000'000));
  Add(app, "batch-wait-ms", raw.batch_wait_ms,
      "How long fewer rows than that wait for more; 0 never waits")
      ->check(Between(0.0, 10'000.0));
  Add(app, "max-message-bytes", server.max_message_bytes,
      "Largest request message")
      ->check(CLI::Range(int64_t{1} << 10,
                         int64_t{std::numeric_limits<int32_t>::max()}));
  Add(app, "max-answer-mib", raw.max_answer_mib,
      "What the answer to one request may take, in FP32; those that would be "
      "larger are not computed")
      ->check(CLI::Range(uint64_t{1}, uint64_t{2047}));
  Add(app, "max-upload-bytes", server.max_upload_bytes,
      "Largest checkpoint or bundle upload")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 60));
  Add(app, "client-max-calls", server.client_limits.calls,
      "Calls that one client may have in flight; 0: any number")
      ->check(CLI::Range(0, 10'000'000));
  Add(app, "client-max-mib", raw.client_max_mib,
      "What the requests that one client has in flight may weigh, with their "
      "answers; 0: anything")
      ->check(CLI::Range(uint64_t{0}, uint64_t{1} << 24));
  Add(app, "max-connection-streams", server.transport.streams_per_connection,
      "Calls in progress on one connection; more wait at the client")
      ->check(CLI::Range(1, 1'000'000));
  Add(app, "max-connection-idle-seconds", raw.idle_seconds,
      "A connection without calls is closed after that long; 0: never")
      ->check(Between(0.0, 1e6));
  Add(app, "max-connection-age-seconds", raw.age_seconds,
      "A connection takes no more calls after that long, so that clients look "
      "for servers anew; 0: never")
      ->check(Between(0.0, 1e6));
  Add(app, "max-metadata-bytes", server.transport.max_metadata_bytes,
      "Headers of one call")
      ->check(CLI::Range(size_t{1} << 10, size_t{1} << 20));
  Add(app, "grpc-memory-mib", raw.grpc_memory_mib,
      "Memory that gRPC may take to receive and send")
      ->check(CLI::Range(uint64_t{64}, uint64_t{1} << 24));
  Add(app, "calibration-rows", server.calibration.rows,
      "Rows of each linear input that a calibration keeps to measure errors "
      "on, unless its creator asks for another number")
      ->check(CLI::Range(size_t{1}, quantization::kMaxKeptRows));
  Add(app, "calibration-samples", server.calibration.samples,
      "Whole samples that a calibration keeps, likewise")
      ->check(CLI::Range(size_t{1}, quantization::kMaxKeptSamples));
  Add(app, "measure-memory-mib", raw.measure_memory_mib,
      "What a quantization may take to measure the whole model, in FP32 and as "
      "quantized; larger ones are quantized without, with a warning, and "
      "policy auto refuses them")
      ->check(CLI::Range(uint64_t{0}, uint64_t{1} << 24));
  app.add_flag("--allow-shared-memory", server.allow_shared_memory,
               "Let clients of the Open Inference Protocol on this machine "
               "pass tensors in POSIX shared memory")
      ->envname("OCTET_ALLOW_SHARED_MEMORY");
  app.add_flag("--allow-capture", server.allow_capture,
               "Let admins capture live requests into calibrations, which "
               "keep some of them")
      ->envname("OCTET_ALLOW_CAPTURE");
  app.add_flag("--allow-non-finite", server.allow_non_finite,
               "Answer NaN for rows of a request that hold NaN or infinities, "
               "instead of INVALID_ARGUMENT")
      ->envname("OCTET_ALLOW_NON_FINITE");
  Add(app, "grace-seconds", raw.grace_seconds,
      "After a signal: how long to go on accepting calls while health says "
      "NOT_SERVING, so that load balancers look elsewhere")
      ->check(Between(0.0, 3600.0));
  Add(app, "drain-seconds", raw.drain_seconds,
      "After that: how long admitted calls and quantizations may take to "
      "finish before they are cancelled")
      ->check(Between(0.0, 86400.0));
  Add(app, "slow-request-seconds", raw.slow_seconds,
      "Unary calls, and requests of streams, that take as long are logged, "
      "besides those that fail")
      ->check(Between(0.0, 1e6));
  Add(app, "log-level", raw.flags.log_level, "How much is logged, to stderr")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}));
}

}  // namespace

std::optional<Flags> ParseFlags(int argc, char** argv, int* exit_code) {
  Raw raw;
  raw.flags.log_level = "info";
  CLI::App app(kDescription, "octet-server");
  app.footer(kExamples);
  const std::string version(telemetry::GetBuildInfo().version);
  app.set_version_flag("--version", "octet-server " + version);
  AddFlags(app, raw);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    *exit_code = app.exit(error) == 0 ? 0 : kUsageError;
    return std::nullopt;
  }
  raw.flags.server.data_directory = raw.data_directory;
  if (raw.int8_backend == "onednn") {
    raw.flags.server.int8_backend = kernels::Int8Backend::kOneDnn;
  }
  raw.flags.server.security.reflection = ParseReflection(raw.reflection);
  raw.flags.server.max_measure_bytes = raw.measure_memory_mib << 20;
  raw.flags.server.client_limits.bytes = raw.client_max_mib << 20;
  raw.flags.server.max_answer_bytes = raw.max_answer_mib << 20;
  raw.flags.server.request_log.slow = absl::Seconds(raw.slow_seconds);
  rpc::TransportOptions& transport = raw.flags.server.transport;
  transport.memory_bytes = raw.grpc_memory_mib << 20;
  transport.connection_idle = absl::Seconds(raw.idle_seconds);
  transport.connection_age = absl::Seconds(raw.age_seconds);
  raw.flags.server.batch_wait = absl::Milliseconds(raw.batch_wait_ms);
  raw.flags.grace = absl::Seconds(raw.grace_seconds);
  raw.flags.drain = absl::Seconds(raw.drain_seconds);
  return raw.flags;
}

}  // namespace octet
