// Which float operations a CPU gets, real or imagined.

#include "kernels/float_companions.h"

#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "kernels/cpu_features.h"
#include "tests/kernels/known_cpus.h"
#include "tests/kernels_float/test_data.h"

namespace octet::kernels {
namespace {

// The tests of this binary go over all companions that the CPU runs; one line
// for each that it does not.
class EveryCompanion : public testing::TestWithParam<const FloatCompanions*> {};
INSTANTIATE_TEST_SUITE_P(Companions, EveryCompanion,
                         testing::ValuesIn(CompanionsOfThisBuild()),
                         [](const auto& info) {
                           return std::string(info.param->isa);
                         });

TEST_P(EveryCompanion, IsAmongThoseThatAreTestedHere) {
  for (const FloatCompanions* tested : CompanionsThisCpuRuns()) {
    if (tested == GetParam()) return;
  }
  GTEST_SKIP() << "this CPU has no " << GetParam()->isa
               << ": its float companions are NOT TESTED";
}

std::string_view ChoiceFor(const CpuFeatures& features) {
  return SelectFloatCompanions(features).isa;
}

#if defined(__x86_64__)
TEST(SelectFloatCompanions, EachCpuGetsItsBest) {
  CpuFeatures cooper_lake = CascadeLake();
  cooper_lake.avx512bf16 = true;
  EXPECT_EQ(ChoiceFor({}), "generic");
  EXPECT_EQ(ChoiceFor(Haswell()), "avx2");
  EXPECT_EQ(ChoiceFor(AlderLake()), "avx2");
  EXPECT_EQ(ChoiceFor(SkylakeServer()), "avx512");
  EXPECT_EQ(ChoiceFor(CascadeLake()), "avx512");
  EXPECT_EQ(ChoiceFor(cooper_lake), "avx512bf16");
  EXPECT_EQ(ChoiceFor(NeoverseV1()), "generic");
}

TEST(SelectFloatCompanions, WhatIsLoweredIsNotThere) {
  CpuFeatures cooper_lake = CascadeLake();
  cooper_lake.avx512bf16 = true;
  const auto lowered = [&](Isa isa) {
    return ChoiceFor(LoweredTo(isa, cooper_lake));
  };
  EXPECT_EQ(lowered(Isa::kScalar), "generic");
  EXPECT_EQ(lowered(Isa::kAvx2), "avx2");
  EXPECT_EQ(lowered(Isa::kAvxVnni), "avx2");
  EXPECT_EQ(lowered(Isa::kAvx512Vnni), "avx512bf16");
}

TEST(SelectFloatCompanions, OneMissingFeatureCostsThoseThatNeedIt) {
  for (const auto feature : {&CpuFeatures::avx512f, &CpuFeatures::avx512bw,
                             &CpuFeatures::avx512dq, &CpuFeatures::avx512vl}) {
    CpuFeatures features = CascadeLake();
    features.*feature = false;
    EXPECT_EQ(ChoiceFor(features), "avx2");
  }
  for (const auto feature :
       {&CpuFeatures::avx2, &CpuFeatures::fma, &CpuFeatures::f16c}) {
    CpuFeatures features = Haswell();
    features.*feature = false;
    EXPECT_EQ(ChoiceFor(features), "generic");
  }
}
#elif defined(__aarch64__)
TEST(SelectFloatCompanions, EachCpuGetsItsBest) {
  EXPECT_EQ(ChoiceFor({}), "generic");
  EXPECT_EQ(ChoiceFor(CortexA72()), "neon");
  EXPECT_EQ(ChoiceFor(NeoverseV1()), "neon");
  EXPECT_EQ(ChoiceFor(SapphireRapids()), "generic");
}
#endif

TEST(SelectFloatCompanions, TheHostsAreThoseOfItsFeatures) {
  EXPECT_EQ(&HostFloatCompanions(), &SelectFloatCompanions(HostFeatures()));
}

}  // namespace
}  // namespace octet::kernels
