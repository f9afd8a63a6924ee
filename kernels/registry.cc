#include "kernels/registry.h"

#include "absl/types/span.h"
#include "kernels/cpu_features.h"
#include "kernels/microkernel.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

extern const TileOps kScalarTileOps;
void DotScalar1x16(const DotTile& tile);
#if defined(__x86_64__)
extern const TileOps kAvx2TileOps;
extern const TileOps kAvx512TileOps;
void DotU8S8Avx2_6x16(const DotTile& tile);
void DotS8U8Avx2_5x16(const DotTile& tile);
SplitRow SplitRowAvx2(const uint8_t* codes, size_t k, int32_t zero_point,
                      int8_t* a, Excess* excess);
void DotU8S8Avx512VlVnni_6x16(const DotTile& tile);
void DotU8S8AvxVnni_6x16(const DotTile& tile);
void DotU8S8Avx512Vnni_6x64(const DotTile& tile);
void DotGroupedAvx512Vnni(const GroupedTile& tile);
#elif defined(__aarch64__)
extern const TileOps kNeonTileOps;
void DotS8S8Neon_6x8(const DotTile& tile);
void DotS8S8NeonDotprod_6x16(const DotTile& tile);
void DotS8S8NeonI8mm_8x12(const DotTile& tile);
#endif

namespace {

// name, isa, scales, scales_outliers, code_offset, mr, nr, nr_step, kr,
// code_bytes, products_per_cycle, dot, ops, dot_grouped, few_rows,
// grouped_few_rows, split_row
constexpr Kernel kKernels[] = {
    {"dot_scalar_1x16", Isa::kScalar, false, false, 0, 1, 16, 1, 4, 1, 1,
     DotScalar1x16, &kScalarTileOps},
#if defined(__x86_64__)
    {"dot_u8s8_avx2_6x16", Isa::kAvx2, false, false, 0, 6, 16, 8, 2, 2, 16,
     DotU8S8Avx2_6x16, &kAvx2TileOps},
    {"dot_s8u8_avx2_5x16", Isa::kAvx2, true, true, 0, 5, 16, 8, 4, 1, 32,
     DotS8U8Avx2_5x16, &kAvx2TileOps, nullptr, 0, 0, SplitRowAvx2},
    {"dot_u8s8_avx512vl_vnni_6x16", Isa::kAvx512VlVnni, false, false, 0, 6, 16,
     8, 4, 1, 64, DotU8S8Avx512VlVnni_6x16, &kAvx2TileOps},
    {"dot_u8s8_avxvnni_6x16", Isa::kAvxVnni, false, false, 0, 6, 16, 8, 4, 1,
     64, DotU8S8AvxVnni_6x16, &kAvx2TileOps},
    {"dot_u8s8_avx512vnni_6x64", Isa::kAvx512Vnni, true, false, 0, 6, 64, 16, 4,
     1, 128, DotU8S8Avx512Vnni_6x64, &kAvx512TileOps, DotGroupedAvx512Vnni, 8,
     2},
#elif defined(__aarch64__)
    {"dot_s8s8_neon_6x8", Isa::kNeon, false, false, 128, 6, 8, 4, 4, 1, 16,
     DotS8S8Neon_6x8, &kNeonTileOps},
    {"dot_s8s8_neon_dotprod_6x16", Isa::kNeonDotprod, false, false, 128, 6, 16,
     4, 4, 1, 32, DotS8S8NeonDotprod_6x16, &kNeonTileOps},
    {"dot_s8s8_neon_i8mm_8x12", Isa::kNeonI8mm, false, false, 128, 8, 12, 4, 8,
     1, 64, DotS8S8NeonI8mm_8x12, &kNeonTileOps},
#endif
};

}  // namespace

absl::Span<const Kernel> Kernels() { return kKernels; }

const Kernel& SelectKernel(const CpuFeatures& features) {
  const Kernel* selected = &kKernels[0];
  for (const Kernel& kernel : kKernels) {
    if (Runs(features, kernel.isa)) selected = &kernel;
  }
  return *selected;
}

const Kernel& KernelForParts(const Kernel& kernel) {
  const Kernel* selected = &kernel;
  for (const Kernel& other : kKernels) {
    if (kernel.split_row != nullptr && other.isa == kernel.isa &&
        other.split_row == nullptr) {
      selected = &other;
    }
  }
  return *selected;
}

}  // namespace octet::kernels
