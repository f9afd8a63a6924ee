// Linked to octet-server's own main, this adds WireProbe to what it serves.

#include <memory>

#include "grpcpp/impl/server_builder_plugin.h"
#include "grpcpp/impl/server_initializer.h"
#include "grpcpp/server_builder.h"
#include "tests/benchmarks/wire/wire_probe.grpc.pb.h"

namespace octet::benchmark {
namespace {

using grpc::ByteBuffer;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

class ProbeService final
    : public WireProbe::WithCallbackMethod_Empty<
          WireProbe::WithRawCallbackMethod_Echo<
              WireProbe::WithRawCallbackMethod_Sink<WireProbe::Service>>> {
  ServerUnaryReactor* Empty(CallbackServerContext* context,
                            const Bytes* /*request*/,
                            Bytes* /*response*/) override {
    return Done(context);
  }
  ServerUnaryReactor* Echo(CallbackServerContext* context,
                           const ByteBuffer* request,
                           ByteBuffer* response) override {
    *response = *request;
    return Done(context);
  }
  ServerUnaryReactor* Sink(CallbackServerContext* context,
                           const ByteBuffer* /*request*/,
                           ByteBuffer* response) override {
    const grpc::Slice nothing("");
    *response = ByteBuffer(&nothing, 1);
    return Done(context);
  }

  static ServerUnaryReactor* Done(CallbackServerContext* context) {
    ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

class ProbePlugin final : public grpc::ServerBuilderPlugin {
 public:
  std::string name() override { return "octet.benchmark.probe"; }
  void InitServer(grpc::ServerInitializer* server) override {
    server->RegisterService(std::make_shared<ProbeService>());
  }
  void Finish(grpc::ServerInitializer* /*server*/) override {}
  void ChangeArguments(const std::string& /*name*/, void* /*value*/) override {}
};

const bool kAdded = [] {
  grpc::ServerBuilder::InternalAddPluginFactory(
      []() -> std::unique_ptr<grpc::ServerBuilderPlugin> {
        return std::make_unique<ProbePlugin>();
      });
  return true;
}();

}  // namespace
}  // namespace octet::benchmark
