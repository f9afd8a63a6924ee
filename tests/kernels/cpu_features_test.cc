// Which kernel a CPU gets, real or imagined.

#include "kernels/cpu_features.h"

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "kernels/registry.h"
#include "kernels/weight_feed.h"
#include "tests/kernels/known_cpus.h"

namespace octet::kernels {
namespace {

// EAX of CPUID's leaf 1, as these CPUs tell it.
TEST(WeightFeed, FollowsTheFamily) {
  constexpr uint32_t kRome = 0x00830f10;
  constexpr uint32_t kGenoa = 0x00a10f11;
  constexpr uint32_t kTurin = 0x00b00f21;
  constexpr uint32_t kSapphireRapids = 0x000806f8;
  EXPECT_EQ(CpuFamily(kRome), 23);
  EXPECT_EQ(CpuFamily(kGenoa), 25);
  EXPECT_EQ(CpuFamily(kTurin), 26);
  EXPECT_EQ(CpuFamily(kSapphireRapids), 6);

  const WeightFeed rome = WeightFeedOfAmd(CpuFamily(kRome));
  EXPECT_EQ(rome.ahead, 0);
  EXPECT_FALSE(rome.into_l2);
  const WeightFeed genoa = WeightFeedOfAmd(CpuFamily(kGenoa));
  EXPECT_EQ(genoa.ahead, 0);
  EXPECT_TRUE(genoa.into_l2);
  EXPECT_GT(genoa.slice_bytes, rome.slice_bytes);
  const WeightFeed turin = WeightFeedOfAmd(CpuFamily(kTurin));
  EXPECT_GT(turin.ahead, 0);
  EXPECT_FALSE(turin.into_l2);
}

TEST(SelectKernel, NothingSpecialRunsTheReference) {
  EXPECT_EQ(SelectKernel({}).name, "dot_scalar_1x16");
}

// What each CPU runs in the build for its family, as it is and under each
// level of OCTET_MAX_ISA that changes it. The choice holds for every shape: a
// kernel brings tiles for each number of rows (dot_test.cc runs them all).
struct Choice {
  const char* cpu;
  CpuFeatures features;
  std::string_view kernel;
};

#if defined(__x86_64__)
constexpr std::string_view kScalar = "dot_scalar_1x16";
constexpr std::string_view kAvx2 = "dot_s8u8_avx2_5x16";
constexpr std::string_view kEvex = "dot_u8s8_avx512vl_vnni_6x16";
constexpr std::string_view kVex = "dot_u8s8_avxvnni_6x16";
constexpr std::string_view kAvx512 = "dot_u8s8_avx512vnni_6x64";

TEST(SelectKernel, EachCpuGetsItsBestKernel) {
  for (const Choice& choice : {Choice{"none", {}, kScalar},
                               {"Haswell", Haswell(), kAvx2},
                               {"Skylake-X", SkylakeServer(), kAvx2},
                               {"Cascade Lake", CascadeLake(), kAvx512},
                               {"Alder Lake", AlderLake(), kVex},
                               {"Zen 4", Zen4(), kAvx512},
                               {"Sapphire Rapids", SapphireRapids(), kAvx512},
                               {"Cortex-A72", CortexA72(), kScalar},
                               {"Neoverse V1", NeoverseV1(), kScalar}}) {
    EXPECT_EQ(SelectKernel(choice.features).name, choice.kernel) << choice.cpu;
  }
}

TEST(SelectKernel, ALoweredCpuGetsTheBestOfTheLowerLevels) {
  struct Lowered {
    Isa limit;
    CpuFeatures features;
    std::string_view kernel;
  };
  for (const Lowered& lowered : {Lowered{Isa::kAvxVnni, SapphireRapids(), kVex},
                                 {Isa::kAvxVnni, Zen4(), kEvex},
                                 {Isa::kAvxVnni, AlderLake(), kVex},
                                 {Isa::kAvxVnni, SkylakeServer(), kAvx2},
                                 {Isa::kAvx512VlVnni, SapphireRapids(), kEvex},
                                 {Isa::kAvx512VlVnni, AlderLake(), kAvx2},
                                 {Isa::kAvx2, SapphireRapids(), kAvx2},
                                 {Isa::kScalar, SapphireRapids(), kScalar}}) {
    EXPECT_EQ(SelectKernel(LoweredTo(lowered.limit, lowered.features)).name,
              lowered.kernel)
        << IsaName(lowered.limit);
  }
}

// Groups of K, and a K beyond int32. Ranges of columns are asked for in steps
// of the kernel that SelectKernel names, so that both need the same panels.
TEST(SelectKernel, PartsOfKHaveAKernelOfTheSamePanels) {
  for (const Kernel& kernel : Kernels()) {
    const Kernel& parts = KernelForParts(kernel);
    EXPECT_EQ(parts.name,
              kernel.name == kAvx2 ? "dot_u8s8_avx2_6x16" : kernel.name);
    EXPECT_EQ(parts.split_row, nullptr) << kernel.name;
    EXPECT_EQ(parts.nr, kernel.nr) << kernel.name;
  }
}

// Everything above the foot of the ladder stands on what AVX2 code needs.
TEST(SelectKernel, OneMissingFeatureCostsTheKernelsThatNeedIt) {
  struct Missing {
    bool CpuFeatures::* feature;
    std::string_view zen4;
    std::string_view sapphire_rapids;
    std::string_view alder_lake;
  };
  for (const Missing& missing :
       {Missing{&CpuFeatures::avx2, kScalar, kScalar, kScalar},
        {&CpuFeatures::fma, kScalar, kScalar, kScalar},
        {&CpuFeatures::f16c, kScalar, kScalar, kScalar},
        {&CpuFeatures::avx_vnni, kAvx512, kAvx512, kAvx2},
        {&CpuFeatures::avx512f, kEvex, kVex, kVex},
        {&CpuFeatures::avx512bw, kEvex, kVex, kVex},
        {&CpuFeatures::avx512dq, kEvex, kVex, kVex},
        {&CpuFeatures::avx512vl, kAvx2, kVex, kVex},
        {&CpuFeatures::avx512vnni, kAvx2, kVex, kVex}}) {
    const auto without = [&](CpuFeatures features) {
      features.*missing.feature = false;
      return SelectKernel(features).name;
    };
    EXPECT_EQ(without(Zen4()), missing.zen4);
    EXPECT_EQ(without(SapphireRapids()), missing.sapphire_rapids);
    EXPECT_EQ(without(AlderLake()), missing.alder_lake);
  }
}
#elif defined(__aarch64__)
TEST(SelectKernel, EachCpuGetsItsBestKernel) {
  for (const Choice& choice :
       {Choice{"none", {}, "dot_scalar_1x16"},
        {"Cortex-A72", CortexA72(), "dot_s8s8_neon_6x8"},
        {"Neoverse N1", NeoverseN1(), "dot_s8s8_neon_dotprod_6x16"},
        {"Neoverse V1", NeoverseV1(), "dot_s8s8_neon_i8mm_8x12"},
        {"Zen 4", Zen4(), "dot_scalar_1x16"}}) {
    EXPECT_EQ(SelectKernel(choice.features).name, choice.kernel) << choice.cpu;
  }
}
#endif

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
  EXPECT_FALSE(Runs(AlderLake(), Isa::kAvx512VlVnni));
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
  EXPECT_EQ(lowered(Isa::kAvxVnni, CascadeLake()), Isa::kAvx512VlVnni);
  EXPECT_EQ(lowered(Isa::kAvxVnni, Haswell()), Isa::kAvx2);
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
       {Isa::kScalar, Isa::kAvx2, Isa::kAvx512VlVnni, Isa::kAvxVnni,
        Isa::kAvx512Vnni, Isa::kNeon, Isa::kNeonDotprod, Isa::kNeonI8mm}) {
    EXPECT_EQ(IsaFromName(IsaName(isa)), isa);
  }
  EXPECT_EQ(IsaFromName("avx"), std::nullopt);
  EXPECT_EQ(IsaFromName(""), std::nullopt);
}

#if defined(__x86_64__)
// Linux asks the CPU as well, and also what it lets programs use of it.
TEST(DetectCpuFeatures, AgreesWithProcCpuinfo) {
#if defined(OCTET_EMULATE_AVX512)
  GTEST_SKIP() << "AVX-512 is emulated";
#endif
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::set<std::string> flags;
  for (std::string line; flags.empty() && std::getline(cpuinfo, line);) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    for (std::string flag; words >> flag;) flags.insert(flag);
  }
  if (flags.empty()) GTEST_SKIP() << "/proc/cpuinfo has no flags here";
  const CpuFeatures detected = DetectCpuFeatures();
  const auto expect = [&](bool has, const char* flag) {
    EXPECT_EQ(has, flags.contains(flag)) << flag;
  };
  expect(detected.avx2, "avx2");
  expect(detected.fma, "fma");
  expect(detected.f16c, "f16c");
  expect(detected.avx512f, "avx512f");
  expect(detected.avx512bw, "avx512bw");
  expect(detected.avx512dq, "avx512dq");
  expect(detected.avx512vl, "avx512vl");
  expect(detected.avx512vnni, "avx512_vnni");
  // Kernels before 5.12 do not know these two.
  EXPECT_GE(detected.avx_vnni, flags.contains("avx_vnni"));
  EXPECT_GE(detected.avx512bf16, flags.contains("avx512_bf16"));
}
#endif

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
