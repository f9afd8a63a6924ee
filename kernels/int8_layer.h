// What an Int8Linear keeps: everything as the kernels read it.

#ifndef OCTET_KERNELS_INT8_LAYER_H_
#define OCTET_KERNELS_INT8_LAYER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/int8_linear.h"
#include "kernels/onednn_gemm.h"
#include "kernels/packed_weights.h"
#include "kernels/phase_sampler.h"
#include "kernels/quantize_rows.h"
#include "kernels/registry.h"

namespace octet::kernels {

// What a task multiplies at once: products of 448 KiB of codes then fit beside
// them, and threads share a layer's columns. A multiple of every kernel's nr.
inline constexpr size_t kOneDnnColumns = 384;

struct Int8Layer {
  // `spec` has been checked.
  Int8Layer(const Kernel& kernel, const Int8LinearSpec& spec);
  // `coding` points into what is kept beside it.
  Int8Layer(const Int8Layer&) = delete;
  Int8Layer& operator=(const Int8Layer&) = delete;

  size_t padded_k() const { return weights.groups() * kernel.kr; }
  // K is too large for int32: see packed_weights.h. Groups of K never are.
  bool splits_k() const {
    return group_size == 0 && weights.k() > weights.max_exact_k();
  }
  bool has_outliers() const {
    return !outlier_columns.empty() ||
           coding.filter.live_bits != RowFilter().live_bits;
  }
  size_t k_groups() const {
    return (weights.k() + group_size - 1) / group_size;
  }
  // Where a panel's part of group_scales, and then of seeds, begins.
  size_t group_at(const Panel& panel) const { return panel.begin * k_groups(); }
  size_t bytes() const;

  const Kernel& kernel;
  PackedWeights weights;
  RowCoding coding;
  size_t group_size = 0;            // k that share a scale; 0: all of them
  std::vector<float> scales;        // [padded N]; ones where groups have scales
  std::vector<float> group_scales;  // panels of [groups of K][width], or empty
  std::vector<float> bias;          // [padded N]
  std::vector<int32_t> seeds;  // as scales or group_scales; zeros where K is
                               // split
  std::vector<uint32_t> keep;  // [K], where there are outlier columns
  std::vector<int32_t> outlier_columns;
  std::vector<uint16_t> outlier_weights;  // FP16 [columns, padded N]
  std::vector<float> inverse_smoothing;   // [K], or empty
  // Where the backend is oneDNN: ranges of kOneDnnColumns, the last as narrow
  // as N leaves it.
  std::vector<std::unique_ptr<OneDnnInt8Gemm>> onednn;
  mutable PhaseShares shares;  // learned from calls that are timed

 private:
  void KeepOutliers(const Int8LinearSpec& spec);
  void SeedColumns();
  void KeepGroups(const Int8LinearSpec& spec);
  void PackForOneDnn(const Int8LinearSpec& spec);
  int32_t SeedOf(int64_t sum) const;
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_INT8_LAYER_H_
