// Messages taken apart are what protobuf says they are, wherever they are cut.

#include "server/rpc/wire/split.h"

#include <random>
#include <string>
#include <vector>

#include "google/protobuf/stubs/logging.h"
#include "gtest/gtest.h"
#include "tests/server/rpc/wire/check.h"

namespace octet::rpc {
namespace {

constexpr uint32_t kSeed = 20261124;

using Random = std::mt19937;

size_t Below(Random& random, size_t limit) {
  return std::uniform_int_distribution<size_t>(0, limit - 1)(random);
}

std::string RandomBytes(Random& random, size_t limit) {
  std::string bytes(Below(random, limit), '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

void AppendField(uint32_t field, const std::string& value, std::string* to) {
  AppendVarint(TagOf(field), to);
  AppendVarint(value.size(), to);
  *to += value;
}

// Something at that depth of a message, right more often than not: a field on
// the path or beside it, of any type, groups and all.
std::string RandomMessage(Random& random, const WirePath& path, size_t depth) {
  std::string bytes;
  for (size_t i = Below(random, 5); i > 0; --i) {
    const auto field = static_cast<uint32_t>(1 + Below(random, 8));
    switch (Below(random, 8)) {
      case 0:
        AppendVarint(field << 3 | kVarint, &bytes);
        AppendVarint(uint64_t{random()} << Below(random, 33), &bytes);
        break;
      case 1:
        AppendVarint(field << 3 | kFixed32, &bytes);
        bytes += std::string(4, 'x');
        break;
      case 2:
        AppendVarint(field << 3 | kStartGroup, &bytes);
        bytes += RandomMessage(random, path, depth);
        AppendVarint(field << 3 | kEndGroup, &bytes);
        break;
      case 3:
        AppendField(field, "text", &bytes);
        break;
      case 4:
        AppendField(field, RandomMessage(random, path, depth), &bytes);
        break;
      default:
        AppendField(path.fields[depth],
                    depth + 1 == path.fields.size()
                        ? RandomBytes(random, 300)
                        : RandomMessage(random, path, depth + 1),
                    &bytes);
    }
  }
  return bytes;
}

void Mutate(Random& random, std::string* bytes) {
  for (size_t i = Below(random, 3); i > 0 && !bytes->empty(); --i) {
    const size_t at = Below(random, bytes->size());
    switch (Below(random, 3)) {
      case 0:
        (*bytes)[at] = static_cast<char>(random());
        break;
      case 1:
        bytes->erase(at, 1 + Below(random, 3));
        break;
      default:
        bytes->insert(at, 1 + Below(random, 10), '\x80');
    }
  }
}

template <typename Message>
class WireSplit : public ::testing::Test {};

using Requests =
    ::testing::Types<v1::MatMulRequest, v1::StreamMatMulRequest,
                     v1::ForwardRequest, inference::ModelInferRequest>;
TYPED_TEST_SUITE(WireSplit, Requests);

TYPED_TEST(WireSplit, AgreesWithProtobufOnEveryInputAndEveryCut) {
  const google::protobuf::LogSilencer quiet;
  Random random(kSeed);
  const WirePath& path = LargeField(static_cast<const TypeParam*>(nullptr));
  size_t valid = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = RandomMessage(random, path, 0);
    if (i % 2 == 0) Mutate(random, &bytes);
    const size_t longest = 1 + Below(random, 40);
    const auto cut = [&] { return Below(random, longest + 1); };
    ASSERT_EQ(Difference<TypeParam>(bytes, cut), "")
        << "seed " << kSeed << ", message " << i;
    valid += TypeParam().ParseFromString(bytes) ? 1 : 0;
  }
  EXPECT_GT(valid, 4000);  // it is not all garbage
}

std::string Rest(const v1::MatMulRequest& request, std::string* data) {
  const std::string bytes = request.SerializeAsString();
  const auto chunks = CutUp(bytes, [] { return 7; });
  WireParts parts;
  EXPECT_TRUE(SplitWire(chunks, LargeField(&request), &parts));
  EXPECT_EQ(parts.large.size(), 1);
  data->resize(parts.large[0].size());
  parts.large[0].CopyTo(data->data());
  return parts.rest;
}

TEST(WireSplit, TheRestIsTheMessageWithoutItsTensor) {
  v1::MatMulRequest request;
  request.set_model("models/m");
  request.set_layer("fc");
  request.mutable_x()->set_type(v1::DATA_TYPE_F32);
  request.mutable_x()->add_shape(1);
  request.mutable_x()->add_shape(250);
  request.mutable_x()->set_data(std::string(1000, 'd'));
  request.set_output_type(v1::DATA_TYPE_F16);

  std::string data;
  const std::string rest = Rest(request, &data);

  EXPECT_EQ(data, request.x().data());
  request.mutable_x()->clear_data();
  EXPECT_EQ(rest, request.SerializeAsString());
}

TEST(WireSplit, RefusesLengthsBeyondTheEnd) {
  // x of 100 bytes, of which 2 came; x.data longer than x.
  for (const std::string& bytes : {std::string("\x1a\x64\x08\x01", 4),
                                   std::string("\x1a\x03\x1a\x7f\x00", 5)}) {
    const auto chunks = CutUp(bytes, [] { return 1; });
    WireParts parts;
    const WirePath& path = LargeField(static_cast<v1::MatMulRequest*>(nullptr));
    EXPECT_FALSE(SplitWire(chunks, path, &parts));
  }
}

TEST(WireSplit, TokensAfterFeaturesMakeFeaturesVanish) {
  v1::ForwardRequest features;
  features.mutable_inputs()->mutable_features()->set_data("abcd");
  v1::ForwardRequest tokens;
  tokens.mutable_inputs()->mutable_tokens()->add_ids(1);
  const std::string bytes =
      features.SerializeAsString() + tokens.SerializeAsString();
  const auto chunks = CutUp(bytes, [] { return 3; });
  WireParts parts;
  ASSERT_TRUE(SplitWire(chunks, LargeField(&tokens), &parts));
  EXPECT_TRUE(parts.large.empty());
}

}  // namespace
}  // namespace octet::rpc
