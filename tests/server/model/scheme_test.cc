#include "server/model/scheme.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace octet::model
