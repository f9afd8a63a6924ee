// Kernels that leave part of the work out, for measuring what it costs by how
// much faster a call is without it. Their results are wrong.

#ifndef OCTET_TESTS_KERNELS_PARTIAL_KERNELS_H_
#define OCTET_TESTS_KERNELS_PARTIAL_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/registry.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

struct PartialKernel {
  PartialKernel(const Kernel& whole, void (*leave_out)(TileOps& ops))
      : ops(*whole.ops), kernel(whole) {
    leave_out(ops);
    kernel.ops = &ops;
  }
  PartialKernel(const PartialKernel&) = delete;
  PartialKernel& operator=(const PartialKernel&) = delete;

  TileOps ops;
  Kernel kernel;
};

// Rows are neither transformed, measured nor coded: a thread's products are of
// the codes that it wrote last. Some epilogues take longer for some values, so
// call a whole kernel first.
struct KernelWithoutQuantize : PartialKernel {
  static constexpr uint32_t kTypical = 0x40600000;  // 3.5

  explicit KernelWithoutQuantize(const Kernel& whole)
      : PartialKernel(whole, [](TileOps& ops) {
          ops.hadamard = [](float*, size_t, size_t) {};
          ops.row_maxima = [](const float*, size_t, const RowFilter&) {
            return RowMaxima{.all = kTypical, .kept = kTypical};
          };
          ops.row_codes = [](const float*, size_t, const RowFilter&,
                             const CodeRule&, uint8_t*) {};
          ops.codes_and_maxima = [](const float*, size_t, const CodeRule&,
                                    uint8_t*, const float*) {
            return RowMaxima{.all = kTypical, .kept = kTypical};
          };
        }) {}
};

// Outliers count for what the thread's last ones did.
struct KernelWithoutOutliers : PartialKernel {
  explicit KernelWithoutOutliers(const Kernel& whole)
      : PartialKernel(whole, [](TileOps& ops) {
          ops.fixed_outliers = [](const FixedOutliers&) {};
          ops.live_outliers = [](const LiveOutliers&) {};
        }) {}
};

// Accumulators are left where they are.
struct KernelWithoutEpilogue : PartialKernel {
  explicit KernelWithoutEpilogue(const Kernel& whole)
      : PartialKernel(whole, [](TileOps& ops) {
          ops.finish = [](const FinishTile&) {};
        }) {
    kernel.scales = false;
  }
};

}  // namespace octet::kernels

#endif  // OCTET_TESTS_KERNELS_PARTIAL_KERNELS_H_
