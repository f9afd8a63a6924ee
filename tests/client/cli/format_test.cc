#include "client/cli/format.h"

#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::cli {
namespace {

TEST(Format, BytesInBinaryUnitsOrExact) {
  EXPECT_EQ(FormatBytes(0, false), "0 B");
  EXPECT_EQ(FormatBytes(1023, false), "1023 B");
  EXPECT_EQ(FormatBytes(1024, false), "1.0 KiB");
  EXPECT_EQ(FormatBytes(90868376, false), "86.7 MiB");
  EXPECT_EQ(FormatBytes(90868376, true), "90868376");
  EXPECT_EQ(FormatBytes(int64_t{1} << 60, false), "1048576.0 TiB");
}

TEST(Format, CountsAndTimesWithThreeDigits) {
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(22713216), "22.7 M");
  EXPECT_EQ(FormatSpan(absl::Microseconds(12)), "12 us");
  EXPECT_EQ(FormatSpan(absl::Microseconds(1240)), "1.24 ms");
  EXPECT_EQ(FormatSpan(absl::Seconds(90)), "90 s");
  EXPECT_EQ(FormatSpan(absl::ZeroDuration()), "0");
  EXPECT_EQ(FormatClock(absl::Seconds(65)), "1:05");
  EXPECT_EQ(FormatClock(absl::Seconds(7200)), "2:00:00");
}

TEST(Format, SqnrTellsExactFromUnmeasured) {
  v1::ErrorMeasures error;
  error.set_sqnr_db(42.06);
  EXPECT_EQ(FormatSqnr(error, true), "42.1");
  EXPECT_EQ(FormatSqnr(error, false), "-");
  error.set_sqnr_db(std::numeric_limits<double>::infinity());
  EXPECT_EQ(FormatSqnr(error, true), "exact");
}

TEST(Format, EverySchemeHasANameThatParses) {
  for (int i = v1::Scheme_MIN; i <= v1::Scheme_MAX; ++i) {
    if (i == v1::SCHEME_UNSPECIFIED || !v1::Scheme_IsValid(i)) continue;
    const auto scheme = static_cast<v1::Scheme>(i);
    const auto parsed = ParseScheme(SchemeName(scheme));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, scheme);
  }
  EXPECT_EQ(SchemeName(v1::SCHEME_LLM_INT8), "llm_int8");
}

TEST(Format, AnUnknownNameIsAnsweredWithTheKnownOnes) {
  for (const char* name : {"int4", "", "unspecified", "SCHEME_FP16"}) {
    const auto scheme = ParseScheme(name);
    EXPECT_TRUE(absl::IsInvalidArgument(scheme.status())) << name;
    EXPECT_THAT(std::string(scheme.status().message()),
                testing::HasSubstr("w8a8_static"));
  }
  EXPECT_FALSE(ParseOutlierRule("relative").ok());
  EXPECT_EQ(*ParseOutlierRule("sigma"), v1::OUTLIER_RULE_SIGMA);
}

}  // namespace
}  // namespace octet::cli
