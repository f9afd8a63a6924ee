#include "kernels/float_companions.h"

#include "kernels/cpu_features.h"

namespace octet::kernels {

const FloatCompanions& SelectFloatCompanions(
    [[maybe_unused]] const CpuFeatures& features) {
#if defined(__x86_64__)
  if (features.avx512f && features.avx512bw && features.avx512dq &&
      features.avx512vl && features.fma) {
    return features.avx512bf16 ? kFloatCompanionsAvx512Bf16
                               : kFloatCompanionsAvx512;
  }
  if (features.avx2 && features.fma && features.f16c) {
    return kFloatCompanionsAvx2;
  }
#elif defined(__aarch64__)
  if (features.neon) return kFloatCompanionsNeon;
#endif
  return kFloatCompanionsGeneric;
}

const FloatCompanions& HostFloatCompanions() {
  static const FloatCompanions& companions =
      SelectFloatCompanions(HostFeatures());
  return companions;
}

}  // namespace octet::kernels
