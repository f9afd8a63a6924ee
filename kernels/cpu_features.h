// What this CPU can run, and how far down one may ask it to go.
//
//   x86   CPUID leaves 1 and 7, and XGETBV: an instruction set counts only if
//         the operating system saves its registers
//   Arm   HWCAP of the auxiliary vector
//
// OCTET_MAX_ISA=scalar|avx2|avx512vnni lowers what is used; it never raises.

#ifndef OCTET_KERNELS_CPU_FEATURES_H_
#define OCTET_KERNELS_CPU_FEATURES_H_

#include <cstdint>
#include <optional>
#include <string_view>

namespace octet::kernels {

// Levels in rising order; a level implies the ones before it.
enum class Isa : uint8_t { kScalar, kAvx2, kAvx512Vnni };

struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512dq = false;
  bool avx512vl = false;
  bool avx512vnni = false;
  bool neon_dotprod = false;
  bool neon_i8mm = false;
};

// What hardware and operating system offer.
CpuFeatures DetectCpuFeatures();

// Detected once, lowered by OCTET_MAX_ISA. An unknown name there is reported
// on standard error and has no effect.
const CpuFeatures& HostFeatures();

// The highest level all of whose features are present.
Isa BestIsa(const CpuFeatures& features);

// `features` without anything above `isa`.
CpuFeatures LoweredTo(Isa isa, CpuFeatures features);

std::string_view IsaName(Isa isa);
std::optional<Isa> IsaFromName(std::string_view name);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_CPU_FEATURES_H_
