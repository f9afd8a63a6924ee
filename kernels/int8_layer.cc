#include "kernels/int8_layer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/int8_linear.h"
#include "kernels/packed_weights.h"
#include "kernels/quantize_rows.h"
#include "kernels/registry.h"

namespace octet::kernels {

Int8Layer::Int8Layer(const Kernel& kernel, const Int8LinearSpec& spec)
    : kernel(kernel),
      weights(kernel, spec.codes),
      scales(weights.padded_n(), 1.0F),
      bias(weights.padded_n(), 0.0F),
      seeds(weights.padded_n(), 0) {
  std::copy(spec.scales.begin(), spec.scales.end(), scales.begin());
  // + 0 turns -0 into +0: then it makes no difference whether a zero outlier
  // sum was added before.
  std::transform(spec.bias.begin(), spec.bias.end(), bias.begin(),
                 [](float b) { return b + 0.0F; });
  coding.coding = spec.coding;
  coding.input_scale = spec.input_scale;
  coding.input_zero_point = spec.input_zero_point;
  coding.code_offset = kernel.code_offset;
  KeepOutliers(spec);
  if (!splits_k()) SeedColumns();
}

void Int8Layer::SeedColumns() {
  for (size_t i = 0; i < seeds.size(); ++i) {
    const int64_t seed =
        -int64_t{coding.zero_byte()} * weights.column_sums()[i];
    seeds[i] = static_cast<int32_t>(static_cast<uint32_t>(seed));
  }
  weights.DropColumnSums();
}

void Int8Layer::KeepOutliers(const Int8LinearSpec& spec) {
  coding.filter.live_bits = LiveBits(spec.outlier_threshold);
  if (spec.outlier_columns.empty()) return;
  outlier_columns.assign(spec.outlier_columns.begin(),
                         spec.outlier_columns.end());
  keep.assign(weights.k(), ~uint32_t{0});
  for (const int32_t column : outlier_columns) keep[column] = 0;
  coding.filter.keep = keep.data();
  outlier_weights.assign(outlier_columns.size() * weights.padded_n(), 0);
  for (size_t i = 0; i < outlier_columns.size(); ++i) {
    const uint16_t* row = spec.outlier_weights.row(i);
    std::copy(row, row + weights.n(),
              outlier_weights.begin() + i * weights.padded_n());
  }
}

size_t Int8Layer::bytes() const {
  return weights.bytes() +
         (scales.size() + bias.size() + seeds.size() + keep.size() +
          outlier_columns.size()) *
             sizeof(uint32_t) +
         outlier_weights.size() * sizeof(uint16_t);
}

}  // namespace octet::kernels
