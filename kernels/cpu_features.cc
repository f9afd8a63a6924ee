#include "kernels/cpu_features.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace octet::kernels {
namespace {

constexpr Isa kIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512Vnni};

#if defined(__x86_64__)

constexpr uint64_t kYmmState = 0x6;   // XCR0: SSE and upper halves of YMM
constexpr uint64_t kZmmState = 0xe6;  // and opmasks, upper ZMM, ZMM16-31

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
  if ((c & bit_OSXSAVE) == 0) return features;
  const uint64_t state = EnabledState();
  if ((state & kYmmState) != kYmmState) return features;
  features.fma = (c & bit_FMA) != 0;
  features.f16c = (c & bit_F16C) != 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return features;
  features.avx2 = (b & bit_AVX2) != 0;
  if ((state & kZmmState) != kZmmState) return features;
  features.avx512f = (b & bit_AVX512F) != 0;
  features.avx512bw = (b & bit_AVX512BW) != 0;
  features.avx512dq = (b & bit_AVX512DQ) != 0;
  features.avx512vl = (b & bit_AVX512VL) != 0;
  features.avx512vnni = (c & bit_AVX512VNNI) != 0;
  return features;
}

#elif defined(__aarch64__) && defined(__linux__)

CpuFeatures Detect() {
  CpuFeatures features;
  features.neon_dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  features.neon_i8mm = (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
  return features;
}

#else

CpuFeatures Detect() { return {}; }

#endif

CpuFeatures DetectAndLower() {
  const CpuFeatures detected = DetectCpuFeatures();
  const char* wish = std::getenv("OCTET_MAX_ISA");
  if (wish == nullptr || *wish == '\0') return detected;
  if (const auto isa = IsaFromName(wish)) return LoweredTo(*isa, detected);
  std::fprintf(stderr,
               "octet: OCTET_MAX_ISA=%s is ignored; it knows scalar, avx2 and "
               "avx512vnni\n",
               wish);
  return detected;
}

}  // namespace

CpuFeatures DetectCpuFeatures() { return Detect(); }

const CpuFeatures& HostFeatures() {
  static const CpuFeatures features = DetectAndLower();
  return features;
}

Isa BestIsa(const CpuFeatures& f) {
  if (!f.avx2 || !f.fma || !f.f16c) return Isa::kScalar;
  const bool avx512 = f.avx512f && f.avx512bw && f.avx512dq && f.avx512vl;
  return avx512 && f.avx512vnni ? Isa::kAvx512Vnni : Isa::kAvx2;
}

CpuFeatures LoweredTo(Isa isa, CpuFeatures features) {
  if (isa == Isa::kScalar) return {};
  if (isa == Isa::kAvx2) {
    features.avx512f = features.avx512bw = features.avx512dq = false;
    features.avx512vl = features.avx512vnni = false;
  }
  return features;
}

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512Vnni:
      return "avx512vnni";
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
