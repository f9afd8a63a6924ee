#include "client/cli/methods_option.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace octet::cli {
namespace {

using ::testing::HasSubstr;

TEST(ParseOverride, ASchemeAndMethodsBehindAPattern) {
  const auto parsed = ParseOverride(
      "a.*=llm_int8,smoothing:0.25,rotate:64,group-size:128,rounding:gptq,"
      "bias-correction:on,calibrator:mse,percentile:99.5");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->pattern(), "a.*");
  EXPECT_EQ(parsed->scheme(), v1::SCHEME_LLM_INT8);
  const v1::QuantizationMethods& methods = parsed->methods();
  EXPECT_EQ(methods.smoothing(), v1::SMOOTHING_ALPHA);
  EXPECT_EQ(methods.smoothing_alpha(), 0.25);
  EXPECT_EQ(methods.hadamard_block(), 64);
  EXPECT_EQ(methods.group_size(), 128);
  EXPECT_EQ(methods.rounding(), v1::ROUNDING_GPTQ);
  EXPECT_TRUE(methods.bias_correction());
  EXPECT_EQ(methods.calibrator(), v1::CALIBRATOR_MSE);
  EXPECT_EQ(methods.percentile(), 99.5);
}

TEST(ParseOverride, WhatIsNotSaidIsNotSet) {
  const auto parsed = ParseOverride("a=smoothing:search");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->scheme(), v1::SCHEME_UNSPECIFIED);
  EXPECT_FALSE(parsed->methods().has_group_size());
  EXPECT_EQ(parsed->methods().rounding(), v1::ROUNDING_UNSPECIFIED);
}

TEST(ParseOverride, MistakesAreNamed) {
  for (const char* text :
       {"a", "=fp16", "a=", "a=int4", "a=speed:9", "a=rotate:much",
        "a=smoothing:some", "a=bias-correction:1", "a=rounding:up"}) {
    const auto parsed = ParseOverride(text);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument)
        << text;
  }
  EXPECT_THAT(std::string(ParseOverride("a=speed:9").status().message()),
              HasSubstr("group-size"));
}

}  // namespace
}  // namespace octet::cli
