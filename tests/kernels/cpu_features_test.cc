// Which kernel a CPU gets, real or imagined.

#include "kernels/cpu_features.h"

#include <cstdlib>
#include <optional>

#include "gtest/gtest.h"
#include "kernels/registry.h"

namespace octet::kernels {
namespace {

CpuFeatures Haswell() {
  CpuFeatures features;
  features.avx2 = features.fma = features.f16c = true;
  return features;
}

CpuFeatures SkylakeServer() {
  CpuFeatures features = Haswell();
  features.avx512f = features.avx512bw = true;
  features.avx512dq = features.avx512vl = true;
  return features;
}

CpuFeatures CascadeLake() {
  CpuFeatures features = SkylakeServer();
  features.avx512vnni = true;
  return features;
}

CpuFeatures AlderLake() {
  CpuFeatures features = Haswell();
  features.avx_vnni = true;
  return features;
}

CpuFeatures SapphireRapids() {
  CpuFeatures features = CascadeLake();
  features.avx_vnni = true;
  return features;
}

CpuFeatures CortexA72() {
  CpuFeatures features;
  features.neon = true;
  return features;
}

CpuFeatures NeoverseN1() {
  CpuFeatures features = CortexA72();
  features.neon_dotprod = true;
  return features;
}

CpuFeatures NeoverseV1() {
  CpuFeatures features = NeoverseN1();
  features.neon_i8mm = true;
  return features;
}

TEST(SelectKernel, NothingSpecialRunsTheReference) {
  EXPECT_EQ(SelectKernel({}).name, "dot_scalar_1x16");
}

#if defined(__x86_64__)
TEST(SelectKernel, EachCpuGetsItsBestKernel) {
  EXPECT_EQ(SelectKernel(Haswell()).name, "dot_u8s8_avx2_6x8");
  EXPECT_EQ(SelectKernel(SkylakeServer()).name, "dot_u8s8_avx2_6x8");
  EXPECT_EQ(SelectKernel(CascadeLake()).name, "dot_u8s8_avx512vnni_6x64");
}
#endif

TEST(BestIsa, OneMissingFeatureLowersTheLevel) {
  for (bool CpuFeatures::* needed :
       {&CpuFeatures::avx512f, &CpuFeatures::avx512bw, &CpuFeatures::avx512dq,
        &CpuFeatures::avx512vl, &CpuFeatures::avx512vnni}) {
    CpuFeatures features = CascadeLake();
    features.*needed = false;
    EXPECT_EQ(BestIsa(features), Isa::kAvx2);
  }
  for (bool CpuFeatures::* needed :
       {&CpuFeatures::avx2, &CpuFeatures::fma, &CpuFeatures::f16c}) {
    CpuFeatures features = CascadeLake();
    features.*needed = false;
    EXPECT_EQ(BestIsa(features), Isa::kScalar);
  }
}

TEST(BestIsa, EachCpuIsOnItsLadder) {
  EXPECT_EQ(BestIsa(AlderLake()), Isa::kAvxVnni);
  EXPECT_EQ(BestIsa(SapphireRapids()), Isa::kAvx512Vnni);
  EXPECT_EQ(BestIsa(CortexA72()), Isa::kNeon);
  EXPECT_EQ(BestIsa(NeoverseN1()), Isa::kNeonDotprod);
  EXPECT_EQ(BestIsa(NeoverseV1()), Isa::kNeonI8mm);
}

TEST(BestIsa, I8mmNeedsDotprod) {
  CpuFeatures features = NeoverseV1();
  features.neon_dotprod = false;
  EXPECT_EQ(BestIsa(features), Isa::kNeon);
}

TEST(Runs, ALevelDoesNotImplyTheOneBelow) {
  EXPECT_TRUE(Runs(CascadeLake(), Isa::kAvx512Vnni));
  EXPECT_FALSE(Runs(CascadeLake(), Isa::kAvxVnni));
  EXPECT_TRUE(Runs(SapphireRapids(), Isa::kAvxVnni));
  EXPECT_FALSE(Runs(SapphireRapids(), Isa::kNeon));
  EXPECT_FALSE(Runs(NeoverseV1(), Isa::kAvx2));
}

TEST(LoweredTo, NeverRaises) {
  const auto lowered = [](Isa isa, const CpuFeatures& features) {
    return BestIsa(LoweredTo(isa, features));
  };
  EXPECT_EQ(lowered(Isa::kScalar, CascadeLake()), Isa::kScalar);
  EXPECT_EQ(lowered(Isa::kAvx2, SapphireRapids()), Isa::kAvx2);
  EXPECT_EQ(lowered(Isa::kAvxVnni, SapphireRapids()), Isa::kAvxVnni);
  EXPECT_EQ(lowered(Isa::kAvxVnni, CascadeLake()), Isa::kAvx2);
  EXPECT_EQ(lowered(Isa::kAvx512Vnni, CascadeLake()), Isa::kAvx512Vnni);
  EXPECT_EQ(lowered(Isa::kAvx512Vnni, Haswell()), Isa::kAvx2);
  EXPECT_EQ(lowered(Isa::kScalar, NeoverseV1()), Isa::kScalar);
  EXPECT_EQ(lowered(Isa::kNeon, NeoverseV1()), Isa::kNeon);
  EXPECT_EQ(lowered(Isa::kNeonDotprod, NeoverseV1()), Isa::kNeonDotprod);
  EXPECT_EQ(lowered(Isa::kNeonI8mm, NeoverseN1()), Isa::kNeonDotprod);
}

TEST(LoweredTo, LeavesTheOtherLadderAlone) {
  EXPECT_EQ(BestIsa(LoweredTo(Isa::kNeon, CascadeLake())), Isa::kAvx512Vnni);
  EXPECT_EQ(BestIsa(LoweredTo(Isa::kAvx2, NeoverseV1())), Isa::kNeonI8mm);
}

TEST(IsaFromName, KnowsItsOwnNamesOnly) {
  for (const Isa isa :
       {Isa::kScalar, Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512Vnni, Isa::kNeon,
        Isa::kNeonDotprod, Isa::kNeonI8mm}) {
    EXPECT_EQ(IsaFromName(IsaName(isa)), isa);
  }
  EXPECT_EQ(IsaFromName("avx"), std::nullopt);
  EXPECT_EQ(IsaFromName(""), std::nullopt);
}

// Run with and without OCTET_MAX_ISA: see CMakeLists.txt.
TEST(HostFeatures, ObeysTheEnvironment) {
  const char* wish = std::getenv("OCTET_MAX_ISA");
  const CpuFeatures real = DetectCpuFeatures();
  const auto limit = IsaFromName(wish == nullptr ? "" : wish);
  EXPECT_EQ(BestIsa(HostFeatures()),
            BestIsa(limit ? LoweredTo(*limit, real) : real));
}

}  // namespace
}  // namespace octet::kernels
