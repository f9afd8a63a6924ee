#include "kernels/linear_partition.h"

#include <algorithm>
#include <cstddef>

#include "kernels/registry.h"
#include "kernels/small_work.h"

namespace octet::kernels {
namespace {

// The codes of a row block: they stay in L2 (1 MiB and more on servers) beside
// the panel that is being read. The larger, the more rarely weights that are
// larger than the caches are read again.
constexpr size_t kBlockBytes = size_t{448} << 10;
// Rows below which a block would read the weights too often.
constexpr size_t kMinBlockRows = 16;
// Columns whose products cost some fifty times the quantization of their rows.
constexpr size_t kCheapColumns = 768;

size_t CeilDivide(size_t a, size_t b) { return (a + b - 1) / b; }

size_t AtLeastOne(size_t count) { return std::max<size_t>(count, 1); }

}  // namespace

size_t CodeStride(size_t padded_k) {
  const size_t stride = CeilDivide(padded_k, 64) * 64;
  return stride % 4096 == 0 ? stride + 64 : stride;
}

Partition Divide(const LinearShape& shape, const Kernel& kernel, size_t threads,
                 size_t slice_bytes) {
  const size_t products = shape.rows * shape.n * shape.k;
  // One for each thread: smaller ones read weights and quantize rows more
  // often, and are no better for a thread that is held up now and then
  // (measured: 1 to 3 % slower on two cores of Zen 5, as fast beside a process
  // on one of them).
  const size_t wanted =
      threads == 1 || !WorthSharing(products)
          ? 1
          : std::min(AtLeastOne(products / kMinTaskProducts), threads);
  const size_t units =
      CeilDivide(shape.n, shape.unit == 0 ? kernel.nr : shape.unit);

  // Panels as far as quantizing again is cheap, then rows, then more panels.
  Partition partition;
  const size_t cheap = std::min(wanted, AtLeastOne(shape.n / kCheapColumns));
  const size_t for_threads = std::min(CeilDivide(wanted, cheap),
                                      AtLeastOne(shape.rows / kMinBlockRows));
  const size_t padded_k = CeilDivide(shape.k, kernel.kr) * kernel.kr;
  const size_t most_rows = std::max(
      kBlockBytes / CodeStride(padded_k * kernel.code_bytes), 2 * kernel.mr);
  partition.parallel = wanted > 1;
  partition.row_blocks =
      std::max(for_threads, CeilDivide(shape.rows, most_rows));
  partition.panel_blocks = std::min(units, CeilDivide(wanted, for_threads));

  const size_t group_bytes = kernel.nr * kernel.kr;
  const size_t groups = padded_k / kernel.kr;
  const size_t slices = kernel.PassesOnce(shape.rows, shape.grouped)
                            ? 1
                            : AtLeastOne(groups * group_bytes / slice_bytes);
  partition.slice_groups = CeilDivide(groups, slices);
  return partition;
}

}  // namespace octet::kernels
