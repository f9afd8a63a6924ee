#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/quantization/calibration/calibration.h"
#include "server/quantization/calibration/sample_keys.h"

namespace octet::quantization {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Warnings : public ::testing::Test {
 protected:
  void Add(uint64_t different, uint64_t repeats) {
    for (uint64_t i = 0; i < different; ++i) {
      const uint64_t key = MixBits(++last_key_);
      calibration_.sketch.Add(key, SignatureOfKey(key));
    }
    calibration_.samples += different + repeats;
  }

  Calibration calibration_;
  uint64_t last_key_ = 0;
};

TEST_F(Warnings, OfFewManyAndRepeatedSamples) {
  Add(99, 0);
  EXPECT_THAT(calibration_.Warnings(), ElementsAre(HasSubstr("few")));
  Add(1, 0);
  EXPECT_THAT(calibration_.Warnings(), IsEmpty());
  Add(800, 100);
  EXPECT_THAT(calibration_.Warnings(), IsEmpty());
  Add(0, 1);
  EXPECT_THAT(calibration_.Warnings(),
              ElementsAre(HasSubstr("many"), HasSubstr("repeat")));
}

TEST_F(Warnings, OfNearDuplicates) {
  Add(180, 0);
  for (uint64_t i = 0; i < 21; ++i) {
    calibration_.sketch.Add(MixBits(++last_key_), SignatureOfKey(1));
  }
  calibration_.samples += 21;
  EXPECT_EQ(calibration_.NearDuplicateSamples(), 20);
  EXPECT_THAT(calibration_.Warnings(), IsEmpty());
  calibration_.sketch.Add(MixBits(++last_key_), SignatureOfKey(1));
  ++calibration_.samples;
  EXPECT_THAT(calibration_.Warnings(),
              ElementsAre(HasSubstr("21 of 202 calibration samples are near")));
}

TEST_F(Warnings, OfChannelsThatAreNeverActive) {
  Add(200, 0);
  CalibratedInput input;
  input.layers = {"up"};
  input.statistics = LayerStatistics(3);
  const std::vector<float> rows = {1.0F, 0.0F, 2.0F, -1.0F, 0.0F, 3.0F};
  input.statistics.Observe({rows.data(), 2, 3});
  calibration_.inputs.emplace("up", input);
  EXPECT_THAT(calibration_.Warnings(), ElementsAre(HasSubstr("'up' (1 of 3)")));
}

}  // namespace
}  // namespace octet::quantization
