// What this CPU can run, and how far down one may ask it to go.
//
//   x86   CPUID leaves 1 and 7, and XGETBV: an instruction set counts only if
//         the operating system saves its registers
//   Arm   HWCAP of the auxiliary vector
//
// x86 and Arm are two ladders of levels that share their foot:
//
//   scalar < avx2 < avx512vl_vnni < avxvnni < avx512vnni
//   scalar < neon < dotprod < i8mm
//
// avx512vl_vnni and avxvnni are the same 256-bit instructions in the encodings
// of AVX-512 and of AVX. A CPU may lack a rung below its highest: there are
// AVX512-VNNI CPUs without AVX-VNNI, and under OCTET_MAX_ISA=avxvnni those run
// avx512vl_vnni. OCTET_MAX_ISA=<level> lowers what is used; it never raises,
// and a level of the other ladder changes nothing.

#ifndef OCTET_KERNELS_CPU_FEATURES_H_
#define OCTET_KERNELS_CPU_FEATURES_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "kernels/weight_feed.h"

namespace octet::kernels {

// Each ladder in rising order.
enum class Isa : uint8_t {
  kScalar,
  kAvx2,
  kAvx512VlVnni,
  kAvxVnni,
  kAvx512Vnni,
  kNeon,
  kNeonDotprod,
  kNeonI8mm,
};

struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx_vnni = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512dq = false;
  bool avx512vl = false;
  bool avx512vnni = false;
  bool avx512bf16 = false;
  bool neon = false;
  bool neon_dotprod = false;
  bool neon_i8mm = false;
  WeightFeed feed;
};

// What hardware and operating system offer.
CpuFeatures DetectCpuFeatures();

// Detected once, lowered by OCTET_MAX_ISA. An unknown name there is reported
// on standard error and has no effect.
const CpuFeatures& HostFeatures();

// Are all features of this one level present?
bool Runs(const CpuFeatures& features, Isa isa);

// The highest level that runs.
Isa BestIsa(const CpuFeatures& features);

// `features` without anything above `isa` on its ladder.
CpuFeatures LoweredTo(Isa isa, CpuFeatures features);

std::string_view IsaName(Isa isa);
std::optional<Isa> IsaFromName(std::string_view name);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_CPU_FEATURES_H_
