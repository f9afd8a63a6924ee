// The weight of a live outlier is found in the packed panel, however a kernel
// groups k.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/matrix_view.h"
#include "kernels/packed_weights.h"
#include "kernels/registry.h"
#include "tests/kernels/kernel_testing.h"

namespace octet::kernels {
namespace {

class LiveOutlierWeights : public EveryKernel {};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(LiveOutlierWeights);

TEST_P(LiveOutlierWeights, AreReadFromGroupsOfFourAndEight) {
  constexpr size_t kN = 48;
  constexpr size_t kK = 21;
  const auto w = RandomIntegers<int8_t>(kN * kK, -128, 127, 31);
  const auto scales = RandomFloats(kN, 32);
  for (const size_t kr : {4, 8}) {
    SCOPED_TRACE("seeds 31 and 32, groups of " + std::to_string(kr));
    Kernel kernel = this->kernel();
    kernel.kr = kr;
    kernel.nr = kernel.nr_step = kN;
    const PackedWeights weights(kernel, {w.data(), kN, kK});
    for (uint32_t k = 0; k < kK; ++k) {
      const float x = 7.25F;
      std::vector<float> out(kN, 1.0F);
      kernel.ops->live_outliers({.x = &x,
                                 .columns = &k,
                                 .count = 1,
                                 .panel = weights.panel(0).codes,
                                 .kr = kr,
                                 .weight_offset = kernel.weight_offset(),
                                 .scales = scales.data(),
                                 .out = out.data(),
                                 .width = kN});
      for (size_t n = 0; n < kN; ++n) {
        EXPECT_EQ(
            out[n],
            std::fma(x, scales[n] * static_cast<float>(w[n * kK + k]), 1.0F))
            << "column " << n << ", k " << k;
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
