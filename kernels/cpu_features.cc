#include "kernels/cpu_features.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "kernels/weight_feed.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace octet::kernels {
namespace {

constexpr Isa kIsas[] = {
    Isa::kScalar,     Isa::kAvx2, Isa::kAvx512VlVnni, Isa::kAvxVnni,
    Isa::kAvx512Vnni, Isa::kNeon, Isa::kNeonDotprod,  Isa::kNeonI8mm};

#if defined(__x86_64__)

constexpr uint32_t kAvxVnniBit = 1U << 4;  // of EAX, leaf 7, subleaf 1
constexpr uint32_t kAvx512Bf16Bit = 1U << 5;
constexpr uint64_t kYmmState = 0x6;   // XCR0: SSE and upper halves of YMM
constexpr uint64_t kZmmState = 0xe6;  // and opmasks, upper ZMM, ZMM16-31

bool IsAmd() {
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t c = 0;
  uint32_t d = 0;
  return __get_cpuid(0, &a, &b, &c, &d) != 0 && b == signature_AMD_ebx &&
         c == signature_AMD_ecx && d == signature_AMD_edx;
}

uint64_t EnabledState() {
  uint32_t low = 0;
  uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

CpuFeatures Detect() {
  CpuFeatures features;
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t c = 0;
  uint32_t d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return features;
  if (IsAmd()) features.feed = WeightFeedOfAmd(CpuFamily(a));
  if ((c & bit_OSXSAVE) == 0) return features;
  const uint64_t state = EnabledState();
  if ((state & kYmmState) != kYmmState) return features;
  features.fma = (c & bit_FMA) != 0;
  features.f16c = (c & bit_F16C) != 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return features;
  features.avx2 = (b & bit_AVX2) != 0;
  if ((state & kZmmState) == kZmmState) {
    features.avx512f = (b & bit_AVX512F) != 0;
    features.avx512bw = (b & bit_AVX512BW) != 0;
    features.avx512dq = (b & bit_AVX512DQ) != 0;
    features.avx512vl = (b & bit_AVX512VL) != 0;
    features.avx512vnni = (c & bit_AVX512VNNI) != 0;
  }
  const uint32_t last_subleaf = a;
  if (last_subleaf >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) {
    features.avx_vnni = (a & kAvxVnniBit) != 0;
    features.avx512bf16 = features.avx512f && (a & kAvx512Bf16Bit) != 0;
  }
  return features;
}

#elif defined(__aarch64__) && defined(__linux__)

CpuFeatures Detect() {
  CpuFeatures features;
  features.neon = (getauxval(AT_HWCAP) & HWCAP_ASIMD) != 0;
  features.neon_dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  features.neon_i8mm = (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
  return features;
}

#else

CpuFeatures Detect() { return {}; }

#endif

bool OfThisCpuFamily(Isa isa) {
#if defined(__x86_64__)
  return isa < Isa::kNeon;
#elif defined(__aarch64__)
  return isa == Isa::kScalar || isa >= Isa::kNeon;
#else
  return isa == Isa::kScalar;
#endif
}

void SayThatItIsIgnored(const char* wish) {
  std::fprintf(stderr, "octet: OCTET_MAX_ISA=%s is ignored; here it may be",
               wish);
  for (const Isa isa : kIsas) {
    if (!OfThisCpuFamily(isa)) continue;
    const std::string_view name = IsaName(isa);
    std::fprintf(stderr, " %.*s", static_cast<int>(name.size()), name.data());
  }
  std::fputc('\n', stderr);
}

CpuFeatures DetectAndLower() {
  const CpuFeatures detected = DetectCpuFeatures();
  const char* wish = std::getenv("OCTET_MAX_ISA");
  if (wish == nullptr || *wish == '\0') return detected;
  const auto isa = IsaFromName(wish);
  if (isa && OfThisCpuFamily(*isa)) return LoweredTo(*isa, detected);
  SayThatItIsIgnored(wish);
  return detected;
}

}  // namespace

CpuFeatures DetectCpuFeatures() {
  CpuFeatures features = Detect();
#if defined(OCTET_EMULATE_AVX512)
  features.avx512f = features.avx512bw = features.avx512dq = true;
  features.avx512vl = features.avx512vnni = features.avx512bf16 = true;
  features.avx_vnni = true;
#endif
  return features;
}

const CpuFeatures& HostFeatures() {
  static const CpuFeatures features = DetectAndLower();
  return features;
}

bool Runs(const CpuFeatures& f, Isa isa) {
  const bool avx2 = f.avx2 && f.fma && f.f16c;
  const bool avx512 = f.avx512f && f.avx512bw && f.avx512dq && f.avx512vl;
  switch (isa) {
    case Isa::kScalar:
      return true;
    case Isa::kAvx2:
      return avx2;
    case Isa::kAvx512VlVnni:
      return avx2 && f.avx512vl && f.avx512vnni;
    case Isa::kAvxVnni:
      return avx2 && f.avx_vnni;
    case Isa::kAvx512Vnni:
      return avx2 && avx512 && f.avx512vnni;
    case Isa::kNeon:
      return f.neon;
    case Isa::kNeonDotprod:
      return f.neon && f.neon_dotprod;
    case Isa::kNeonI8mm:
      return f.neon && f.neon_dotprod && f.neon_i8mm;
  }
  return false;
}

Isa BestIsa(const CpuFeatures& features) {
  Isa best = Isa::kScalar;
  for (const Isa isa : kIsas) {
    if (Runs(features, isa)) best = isa;
  }
  return best;
}

CpuFeatures LoweredTo(Isa isa, CpuFeatures features) {
  switch (isa) {
    case Isa::kScalar:
      return {};
    case Isa::kAvx2:
      features.avx512vl = features.avx512vnni = false;
      [[fallthrough]];
    case Isa::kAvx512VlVnni:
      features.avx_vnni = false;
      [[fallthrough]];
    case Isa::kAvxVnni:
      // What is left of AVX-512 is VNNI in 256 bits.
      features.avx512f = features.avx512bw = features.avx512dq = false;
      features.avx512bf16 = false;
      return features;
    case Isa::kNeon:
      features.neon_dotprod = false;
      [[fallthrough]];
    case Isa::kNeonDotprod:
      features.neon_i8mm = false;
      return features;
    case Isa::kAvx512Vnni:
    case Isa::kNeonI8mm:
      return features;
  }
  return features;
}

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512VlVnni:
      return "avx512vl_vnni";
    case Isa::kAvxVnni:
      return "avxvnni";
    case Isa::kAvx512Vnni:
      return "avx512vnni";
    case Isa::kNeon:
      return "neon";
    case Isa::kNeonDotprod:
      return "dotprod";
    case Isa::kNeonI8mm:
      return "i8mm";
  }
  return "scalar";
}

std::optional<Isa> IsaFromName(std::string_view name) {
  for (const Isa isa : kIsas) {
    if (name == IsaName(isa)) return isa;
  }
  return std::nullopt;
}

}  // namespace octet::kernels
