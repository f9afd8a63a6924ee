// What an Int8Linear keeps: everything as the kernels read it.

#ifndef OCTET_KERNELS_INT8_LAYER_H_
#define OCTET_KERNELS_INT8_LAYER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/int8_linear.h"
#include "kernels/packed_weights.h"
#include "kernels/quantize_rows.h"
#include "kernels/registry.h"

namespace octet::kernels {

struct Int8Layer {
  // `spec` has been checked.
  Int8Layer(const Kernel& kernel, const Int8LinearSpec& spec);
  // `coding` points into `keep`.
  Int8Layer(const Int8Layer&) = delete;
  Int8Layer& operator=(const Int8Layer&) = delete;

  size_t padded_k() const { return weights.groups() * kernel.kr; }
  // K is too large for int32: see packed_weights.h.
  bool splits_k() const { return weights.k() > weights.max_exact_k(); }
  size_t bytes() const;

  const Kernel& kernel;
  PackedWeights weights;
  RowCoding coding;
  std::vector<float> scales;   // [padded N], like all that the panels index
  std::vector<float> bias;     // [padded N]
  std::vector<int32_t> seeds;  // [padded N]; zeros where K is split
  std::vector<uint32_t> keep;  // [K], where there are outlier columns
  std::vector<int32_t> outlier_columns;
  std::vector<uint16_t> outlier_weights;  // FP16 [columns, padded N]

 private:
  void KeepOutliers(const Int8LinearSpec& spec);
  void SeedColumns();
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_INT8_LAYER_H_
