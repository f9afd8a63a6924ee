// What some CPUs offer, for tests of what is chosen on machines that are not
// there.

#ifndef OCTET_TESTS_KERNELS_KNOWN_CPUS_H_
#define OCTET_TESTS_KERNELS_KNOWN_CPUS_H_

#include "kernels/cpu_features.h"

namespace octet::kernels {

inline CpuFeatures Haswell() {
  CpuFeatures features;
  features.avx2 = features.fma = features.f16c = true;
  return features;
}

inline CpuFeatures SkylakeServer() {
  CpuFeatures features = Haswell();
  features.avx512f = features.avx512bw = true;
  features.avx512dq = features.avx512vl = true;
  return features;
}

inline CpuFeatures CascadeLake() {
  CpuFeatures features = SkylakeServer();
  features.avx512vnni = true;
  return features;
}

inline CpuFeatures Zen4() { return CascadeLake(); }

inline CpuFeatures AlderLake() {
  CpuFeatures features = Haswell();
  features.avx_vnni = true;
  return features;
}

inline CpuFeatures SapphireRapids() {
  CpuFeatures features = CascadeLake();
  features.avx_vnni = true;
  return features;
}

inline CpuFeatures CortexA72() {
  CpuFeatures features;
  features.neon = true;
  return features;
}

inline CpuFeatures NeoverseN1() {
  CpuFeatures features = CortexA72();
  features.neon_dotprod = true;
  return features;
}

inline CpuFeatures NeoverseV1() {
  CpuFeatures features = NeoverseN1();
  features.neon_i8mm = true;
  return features;
}

}  // namespace octet::kernels

#endif  // OCTET_TESTS_KERNELS_KNOWN_CPUS_H_
