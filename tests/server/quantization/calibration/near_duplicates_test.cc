#include "server/quantization/calibration/near_duplicates.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/quantization/calibration/sample_keys.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

std::vector<int32_t> RandomTokens(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 30000);
  return tokens;
}

void AddTokens(const std::vector<int32_t>& tokens, SampleSketch& sketch) {
  const uint64_t key = SampleKey(0, absl::MakeConstSpan(tokens));
  sketch.Add(key, SignatureOfTokens(tokens, key));
}

void AddFeatures(const std::vector<float>& row, SampleSketch& sketch) {
  const uint64_t key = SampleKey(0, absl::MakeConstSpan(row));
  sketch.Add(key, SignatureOfFeatures(row, key));
}

size_t NearOf(const SampleSketch& sketch) {
  return static_cast<size_t>(
      std::llround(sketch.NearShare() * sketch.entries().size()));
}

TEST(SampleSketch, AChangedWordIsNearAndAnotherTextIsNot) {
  SampleSketch sketch;
  std::vector<int32_t> text = RandomTokens(40, 1);
  AddTokens(text, sketch);
  AddTokens(RandomTokens(40, 2), sketch);
  EXPECT_EQ(NearOf(sketch), 0);
  text[20] = 5;  // 37 of 41 pairs stay
  AddTokens(text, sketch);
  EXPECT_EQ(sketch.Distinct(), 3.0);
  EXPECT_EQ(NearOf(sketch), 1);
}

TEST(SampleSketch, RepeatsAreNotDifferentSamples) {
  SampleSketch sketch;
  for (int i = 0; i < 5; ++i) AddTokens(RandomTokens(10, 1), sketch);
  EXPECT_EQ(sketch.Distinct(), 1.0);
  EXPECT_EQ(NearOf(sketch), 0);
}

TEST(SampleSketch, HalfTheWordsInCommonIsNotNear) {
  int near = 0;
  for (uint32_t seed = 0; seed < 50; ++seed) {
    SampleSketch sketch;
    std::vector<int32_t> text = RandomTokens(60, seed);
    AddTokens(text, sketch);
    const std::vector<int32_t> other = RandomTokens(30, seed + 1000);
    std::copy(other.begin(), other.end(), text.begin());
    AddTokens(text, sketch);
    near += static_cast<int>(NearOf(sketch));
  }
  EXPECT_EQ(near, 0);
}

TEST(SampleSketch, ShortSamplesAreComparedByContentOnly) {
  SampleSketch sketch;
  AddTokens({101, 102}, sketch);
  AddTokens({101, 103}, sketch);
  AddFeatures({1.0F, 2.0F}, sketch);
  AddFeatures({1.0F, 2.1F}, sketch);
  EXPECT_EQ(sketch.Distinct(), 4.0);
  EXPECT_EQ(NearOf(sketch), 0);
}

TEST(SampleSketch, FeaturesWithALittleNoiseAreNear) {
  std::vector<float> row = RandomValues(200, 1);
  SampleSketch sketch;
  AddFeatures(row, sketch);
  AddFeatures(RandomValues(200, 2), sketch);
  EXPECT_EQ(NearOf(sketch), 0);
  const std::vector<float> noise = RandomValues(200, 3, 0.005F);
  for (size_t c = 0; c < row.size(); ++c) row[c] = 3.0F * (row[c] + noise[c]);
  AddFeatures(row, sketch);
  EXPECT_EQ(NearOf(sketch), 1);
}

// An outlier feature is the same in all rows, and says nothing of the others.
TEST(SampleSketch, RowsWithTheSameOutlierFeatureAreNotNear) {
  SampleSketch sketch;
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::vector<float> row = RandomValues(24, seed);
    row[3] = 31.0F;
    AddFeatures(row, sketch);
  }
  EXPECT_EQ(NearOf(sketch), 0);
}

TEST(SampleSketch, AnyOrderAndAnySplitGivesTheSame) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::vector<std::vector<int32_t>> texts;
    for (uint32_t i = 0; i < 60; ++i) {
      texts.push_back(RandomTokens(20, random()));
      if (i % 3 == 0) {
        texts.push_back(texts.back());
        if (i % 2 == 0) texts.back()[random() % 20] = 7;
      }
    }
    SampleSketch once;
    for (const auto& text : texts) AddTokens(text, once);
    std::shuffle(texts.begin(), texts.end(), random);
    std::vector<SampleSketch> parts(3);
    for (const auto& text : texts) AddTokens(text, parts[random() % 3]);
    SampleSketch merged;
    for (const SampleSketch& part : parts) merged.Merge(part);
    EXPECT_EQ(merged.Distinct(), once.Distinct());
    EXPECT_EQ(NearOf(merged), NearOf(once));
    EXPECT_GE(NearOf(once), 8);
  }
}

TEST(SampleSketch, StaysBoundedAndEstimatesBeyond) {
  constexpr uint64_t kSamples = 50000;
  SampleSketch sketch;
  for (uint64_t i = 0; i < 2 * kSamples; ++i) {
    const uint64_t key = MixBits(i % kSamples + 1);
    if (sketch.Wants(key)) sketch.Add(key, Signature{});
  }
  EXPECT_EQ(sketch.entries().size(), kRememberedSamples);
  EXPECT_NEAR(sketch.Distinct(), kSamples, 0.06 * kSamples);
}

TEST(SampleSketch, KeysThatDoNotAscendAreRefused) {
  std::vector<SampleSketch::Entry> entries(2);
  entries[0].key = 2;
  entries[1].key = 2;
  EXPECT_THAT(SampleSketch::Create(entries),
              FailsWith(absl::StatusCode::kInvalidArgument, "keys"));
  entries[1].key = 3;
  EXPECT_THAT(SampleSketch::Create(entries), IsOk());
}

}  // namespace
}  // namespace octet::quantization
