#include "server/model/scheme.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace octet::model {
namespace {

TEST(Scheme, NamesAndValuesGoBothWays) {
  for (const Scheme scheme :
       {Scheme::kFp32, Scheme::kBf16, Scheme::kFp16, Scheme::kW8A8Dynamic,
        Scheme::kW8A8Static, Scheme::kLlmInt8}) {
    const auto parsed = ParseScheme(Name(scheme));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, scheme);
  }
  EXPECT_EQ(Name(Scheme::kW8A8Static), "w8a8_static");
  EXPECT_EQ(ParseScheme("int4").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Scheme, OnlyThreeAreInt8) {
  EXPECT_TRUE(IsInt8(Scheme::kW8A8Dynamic));
  EXPECT_TRUE(IsInt8(Scheme::kW8A8Static));
  EXPECT_TRUE(IsInt8(Scheme::kLlmInt8));
  EXPECT_FALSE(IsInt8(Scheme::kFp32));
  EXPECT_FALSE(IsInt8(Scheme::kBf16));
  EXPECT_FALSE(IsInt8(Scheme::kFp16));
}

TEST(Scheme, NumbersNoLayerCanHaveAreRefusedByName) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Scheme int8 = Scheme::kW8A8Dynamic;
  for (const auto& [scheme, field] :
       std::vector<std::pair<LinearScheme, std::string>>{
           {{Scheme::kLlmInt8, -1.0F}, "outlier_threshold: "},
           {{Scheme::kLlmInt8, nan}, "outlier_threshold: "},
           {{int8, 0, 16}, "group_size: "},
           {{int8, 0, 512}, "group_size: "},
           {{int8, 0, 0, 1}, "hadamard_block: "},
           {{int8, 0, 0, 96}, "hadamard_block: "},
           {{int8, 0, 0, 2048}, "hadamard_block: "},
           {{Scheme::kFp16, 0, 32}, "scheme: "},
           {{Scheme::kFp32, 0, 0, 64}, "scheme: "},
           {{Scheme::kBf16, 0, 0, 0, true}, "scheme: "}}) {
    const absl::Status status = Validate(scheme);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_EQ(std::string(status.message()).rfind(field, 0), 0) << status;
  }
  EXPECT_TRUE(Validate({Scheme::kFp16}).ok());
  EXPECT_TRUE(Validate({int8, 0, 256, 1024, true}).ok());
}

}  // namespace
}  // namespace octet::model
