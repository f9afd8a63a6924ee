// Which kernel a CPU gets, real or imagined.

#include "kernels/cpu_features.h"

#include <algorithm>
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

TEST(LoweredTo, NeverRaises) {
  EXPECT_EQ(BestIsa(LoweredTo(Isa::kScalar, CascadeLake())), Isa::kScalar);
  EXPECT_EQ(BestIsa(LoweredTo(Isa::kAvx2, CascadeLake())), Isa::kAvx2);
  EXPECT_EQ(BestIsa(LoweredTo(Isa::kAvx512Vnni, CascadeLake())),
            Isa::kAvx512Vnni);
  EXPECT_EQ(BestIsa(LoweredTo(Isa::kAvx512Vnni, Haswell())), Isa::kAvx2);
}

TEST(IsaFromName, KnowsItsOwnNamesOnly) {
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512Vnni}) {
    EXPECT_EQ(IsaFromName(IsaName(isa)), isa);
  }
  EXPECT_EQ(IsaFromName("avx"), std::nullopt);
  EXPECT_EQ(IsaFromName(""), std::nullopt);
}

// Run with and without OCTET_MAX_ISA: see CMakeLists.txt.
TEST(HostFeatures, ObeysTheEnvironment) {
  const char* wish = std::getenv("OCTET_MAX_ISA");
  const Isa real = BestIsa(DetectCpuFeatures());
  const auto limit = IsaFromName(wish == nullptr ? "" : wish);
  EXPECT_EQ(BestIsa(HostFeatures()), limit ? std::min(*limit, real) : real);
}

}  // namespace
}  // namespace octet::kernels
