// SplitWire: for every input and every way to cut it, what protobuf says.
//
// The first byte chooses the message, the second how it is cut.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/server/rpc/wire/check.h"

namespace octet::rpc {
namespace {

template <typename Message>
void Check(const std::string& bytes, uint8_t how) {
  size_t piece = how;
  const auto cut = [&] { return piece = (piece * 5 + 3) % (how + 2); };
  const std::string difference = Difference<Message>(bytes, cut);
  if (difference.empty()) return;
  std::fprintf(stderr, "%s: %s\n", Message().GetTypeName().c_str(),
               difference.c_str());
  std::abort();
}

}  // namespace
}  // namespace octet::rpc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octet;  // NOLINT(google-build-using-namespace)
  if (size < 2) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  switch (data[0] % 4) {
    case 0:
      rpc::Check<v1::MatMulRequest>(bytes, data[1]);
      break;
    case 1:
      rpc::Check<v1::StreamMatMulRequest>(bytes, data[1]);
      break;
    case 2:
      rpc::Check<v1::ForwardRequest>(bytes, data[1]);
      break;
    default:
      rpc::Check<inference::ModelInferRequest>(bytes, data[1]);
  }
  return 0;
}
