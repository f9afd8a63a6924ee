// What runs for each shape on each CPU, none of which has to be here: the
// kernel, its tiles for every number of rows, and how a call is cut into tasks.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cpu_features.h"
#include "kernels/linear_partition.h"
#include "kernels/registry.h"
#include "kernels/small_work.h"
#include "tests/kernels/known_cpus.h"

namespace octet::kernels {
namespace {

struct Cpu {
  std::string_view name;
  CpuFeatures features;
  std::string_view kernel;
  std::vector<size_t> tiles;  // into which 1, 2 ... 9 rows are cut
};

std::vector<Cpu> Cpus() {
#if defined(__x86_64__)
  const std::vector<size_t> six = {1, 1, 1, 1, 1, 1, 2, 2, 2};
  return {
      {"none", {}, "dot_scalar_1x16", {1, 2, 3, 4, 5, 6, 7, 8, 9}},
      {"Haswell", Haswell(), "dot_s8u8_avx2_5x16", {1, 1, 1, 1, 1, 2, 2, 2, 2}},
      {"Alder Lake", AlderLake(), "dot_u8s8_avxvnni_6x16", six},
      {"Cascade Lake",
       CascadeLake(),
       "dot_u8s8_avx512vnni_6x64",
       {1, 1, 1, 1, 1, 1, 1, 1, 2}},
      {"Zen 4 as avxvnni", LoweredTo(Isa::kAvxVnni, Zen4()),
       "dot_u8s8_avx512vl_vnni_6x16", six}};
#elif defined(__aarch64__)
  const std::vector<size_t> six = {1, 1, 1, 1, 1, 1, 2, 2, 2};
  return {{"Cortex-A72", CortexA72(), "dot_s8s8_neon_6x8", six},
          {"Neoverse N1", NeoverseN1(), "dot_s8s8_neon_dotprod_6x16", six},
          {"Neoverse V1",
           NeoverseV1(),
           "dot_s8s8_neon_i8mm_8x12",
           {1, 1, 1, 1, 1, 1, 1, 1, 2}}};
#else
  return {{"none", {}, "dot_scalar_1x16", {1, 2, 3, 4, 5, 6, 7, 8, 9}}};
#endif
}

TEST(Dispatch, EachNumberOfRowsHasItsTiles) {
  for (const Cpu& cpu : Cpus()) {
    SCOPED_TRACE(cpu.name);
    const Kernel& kernel = SelectKernel(cpu.features);
    ASSERT_EQ(kernel.name, cpu.kernel);
    for (size_t i = 0; i < cpu.tiles.size(); ++i) {
      EXPECT_EQ(kernel.TilesOf(i + 1), cpu.tiles[i]) << i + 1 << " rows";
    }
    for (const size_t rows : {12, 13, 64, 65, 512}) {
      EXPECT_EQ(kernel.TilesOf(rows), (rows + kernel.mr - 1) / kernel.mr);
    }
  }
}

constexpr std::tuple<size_t, size_t> kLayers[] = {  // K x N
    {384, 384},   {384, 1536},   {1536, 384},   {576, 192},
    {4096, 4096}, {4096, 11008}, {11008, 4096}, {1000, 333}};
constexpr size_t kRows[] = {1, 2, 4, 6, 7, 8, 16, 32, 64, 128, 256, 512};
constexpr size_t kSliceBytes = size_t{32} << 10;

// One tile walks K once. Several share slices that stay in L1 or L2, so that
// memory is read once for all of them; also for 7 and 8 rows in two tiles.
TEST(Dispatch, WeightsComeFromMemoryOncePerBlockOfRows) {
  for (const Cpu& cpu : Cpus()) {
    SCOPED_TRACE(cpu.name);
    const Kernel& kernel = SelectKernel(cpu.features);
    for (const auto& [k, n] : kLayers) {
      for (const size_t rows : kRows) {
        SCOPED_TRACE(std::to_string(rows) + "x" + std::to_string(k) + "x" +
                     std::to_string(n));
        const size_t groups = (k + kernel.kr - 1) / kernel.kr;
        for (const size_t bytes : {kSliceBytes, 2 * kSliceBytes}) {
          const Partition partition = Divide({rows, n, k}, kernel, 1, bytes);
          const size_t slice = partition.slice_groups * kernel.nr * kernel.kr;
          if (kernel.TilesOf(rows) == 1) {
            EXPECT_EQ(partition.slice_groups, groups);
          } else {
            EXPECT_LE(slice, 2 * bytes);
            if (groups * kernel.nr * kernel.kr >= 2 * bytes) {
              EXPECT_GE(slice, bytes / 2);
            }
          }
        }
      }
    }
  }
}

// The grouped kernel of AVX512-VNNI passes twice where there are more than two
// rows, all others as often as there are tiles.
TEST(Dispatch, RowsOfGroupsShareSlicesWhereTheyPassMoreThanOnce) {
  for (const Cpu& cpu : Cpus()) {
    SCOPED_TRACE(cpu.name);
    const Kernel& kernel = SelectKernel(cpu.features);
    const size_t once = kernel.dot_grouped == nullptr ? kernel.mr : 2;
    for (const size_t rows : kRows) {
      const Partition partition =
          Divide({rows, 64, 4096, /*grouped=*/true}, kernel, 1, kSliceBytes);
      EXPECT_EQ(partition.slice_groups == 4096 / kernel.kr,
                rows <= once || kernel.nr * 4096 < 2 * kSliceBytes)
          << rows;
    }
  }
}

TEST(Dispatch, OneThreadCutsRowsOnlyWhereTheirCodesLeaveL2) {
  for (const Cpu& cpu : Cpus()) {
    SCOPED_TRACE(cpu.name);
    const Kernel& kernel = SelectKernel(cpu.features);
    for (const auto& [k, n] : kLayers) {
      for (const size_t rows : kRows) {
        const Partition partition =
            Divide({rows, n, k}, kernel, 1, kSliceBytes);
        EXPECT_FALSE(partition.parallel);
        EXPECT_EQ(partition.panel_blocks, 1);
        const bool fits =
            rows * CodeStride(k * kernel.code_bytes) <= size_t{448} << 10;
        EXPECT_EQ(partition.row_blocks == 1, fits)
            << rows << "x" << k << "x" << n;
      }
    }
  }
}

// Tasks of M x K x N for 4 threads: blocks of rows, ranges of panels.
TEST(Dispatch, ThreadsGetPanelsThenRowsThenMorePanels) {
  struct Cut {
    size_t m, k, n;
    size_t rows, panels;
  };
  for (const Cpu& cpu : Cpus()) {
    SCOPED_TRACE(cpu.name);
    const Kernel& kernel = SelectKernel(cpu.features);
    for (const Cut& cut :
         {Cut{1, 384, 384, 1, 1},    // too small
          Cut{1, 4096, 4096, 1, 4},  // one row: panels alone
          Cut{8, 384, 1536, 1, 4},   // 4 tasks' worth
          Cut{12, 384, 1536, 1, 4},  // 6, of which each has one
          Cut{40, 384, 384, 2, 2},   // no block under 16 rows
          Cut{512, 384, 384, 4, 1},  // rows alone
          Cut{512, 384, 1536, 2, 2}}) {
      const Partition partition =
          Divide({cut.m, cut.n, cut.k}, kernel, 4, kSliceBytes);
      const std::string name = std::to_string(cut.m) + "x" +
                               std::to_string(cut.k) + "x" +
                               std::to_string(cut.n);
      EXPECT_EQ(partition.row_blocks, cut.rows) << name;
      EXPECT_EQ(partition.panel_blocks, cut.panels) << name;
      EXPECT_EQ(partition.parallel, WorthSharing(cut.m * cut.k * cut.n))
          << name;
    }
  }
}

// oneDNN's ranges of columns: as many tasks as there are threads, but no cut
// inside a range.
TEST(Dispatch, ThreadsGetWholeRangesOfColumns) {
  constexpr size_t kUnit = 384;
  struct Cut {
    size_t m, k, n, threads;
    size_t rows, panels;
  };
  for (const Cpu& cpu : Cpus()) {
    SCOPED_TRACE(cpu.name);
    const Kernel& kernel = SelectKernel(cpu.features);
    for (const Cut& cut :
         {Cut{8, 4096, 4096, 8, 1, 8}, Cut{8, 4096, 1536, 8, 1, 4},
          Cut{512, 384, 1536, 2, 1, 2}, Cut{512, 768, 3072, 4, 1, 4},
          Cut{512, 384, 384, 4, 4, 1}}) {
      Partition partition = Divide({cut.m, cut.n, cut.k, false, kUnit}, kernel,
                                   cut.threads, kSliceBytes);
      EXPECT_GE(partition.row_blocks, cut.rows) << cut.m << "x" << cut.n;
      EXPECT_EQ(partition.panel_blocks, cut.panels) << cut.m << "x" << cut.n;
    }
  }
}

}  // namespace
}  // namespace octet::kernels
