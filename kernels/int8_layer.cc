#include "kernels/int8_layer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>

#include "kernels/int8_linear.h"
#include "kernels/onednn_gemm.h"
#include "kernels/packed_weights.h"
#include "kernels/quantize_rows.h"
#include "kernels/registry.h"

namespace octet::kernels {

Int8Layer::Int8Layer(const Kernel& kernel, const Int8LinearSpec& spec)
    : kernel(kernel),
      weights(kernel, spec.codes),
      group_size(spec.group_size),
      scales(weights.padded_n(), 1.0F),
      bias(weights.padded_n(), 0.0F),
      seeds(weights.padded_n(), 0) {
  // + 0 turns -0 into +0: then it makes no difference whether a zero outlier
  // sum was added before.
  std::transform(spec.bias.begin(), spec.bias.end(), bias.begin(),
                 [](float b) { return b + 0.0F; });
  coding.coding = spec.coding;
  // As coded: InverseScale has the same floor.
  coding.input_scale =
      std::max(spec.input_scale, std::numeric_limits<float>::min());
  coding.input_zero_point = spec.input_zero_point;
  coding.code_offset = kernel.code_offset;
  coding.hadamard_block = spec.hadamard_block;
  inverse_smoothing.assign(spec.inverse_smoothing.begin(),
                           spec.inverse_smoothing.end());
  if (!inverse_smoothing.empty()) {
    coding.inverse_smoothing = inverse_smoothing.data();
  }
  KeepOutliers(spec);
  if (group_size != 0) {
    KeepGroups(spec);
  } else {
    std::copy(spec.scales.begin(), spec.scales.end(), scales.begin());
    if (!splits_k()) SeedColumns();
  }
  if (spec.backend == Int8Backend::kOneDnn && !splits_k()) PackForOneDnn(spec);
}

int32_t Int8Layer::SeedOf(int64_t sum) const {
  return static_cast<int32_t>(
      static_cast<uint32_t>(-int64_t{coding.zero_byte()} * sum));
}

// Where codes are split, seeds are of rows instead, and of columns zeros.
void Int8Layer::SeedColumns() {
  if (kernel.split_row == nullptr) {
    std::transform(weights.column_sums().begin(), weights.column_sums().end(),
                   seeds.begin(), [&](int32_t sum) { return SeedOf(sum); });
  }
  weights.DropColumnSums();
}

void Int8Layer::KeepGroups(const Int8LinearSpec& spec) {
  const size_t groups = k_groups();
  group_scales.assign(groups * weights.padded_n(), 1.0F);
  seeds.assign(groups * weights.padded_n(), 0);
  for (size_t p = 0; p < weights.panels(); ++p) {
    const Panel panel = weights.panel(p);
    for (size_t c = 0; c < panel.columns; ++c) {
      const size_t n = panel.begin + c;
      const int8_t* row = spec.codes.row(n);
      for (size_t g = 0; g < groups; ++g) {
        const size_t at = group_at(panel) + g * panel.width + c;
        const size_t end = std::min((g + 1) * group_size, weights.k());
        group_scales[at] = spec.scales[n * groups + g];
        seeds[at] = SeedOf(
            std::accumulate(row + g * group_size, row + end, int64_t{0}));
      }
    }
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
  coding.outlier_columns = outlier_columns;
  outlier_weights.assign(outlier_columns.size() * weights.padded_n(), 0);
  for (size_t i = 0; i < outlier_columns.size(); ++i) {
    const uint16_t* row = spec.outlier_weights.row(i);
    std::copy(row, row + weights.n(),
              outlier_weights.begin() + i * weights.padded_n());
  }
}

// All columns, or none where oneDNN has nothing for one of the ranges.
void Int8Layer::PackForOneDnn(const Int8LinearSpec& spec) {
  for (size_t n = 0; n < weights.n(); n += kOneDnnColumns) {
    auto gemm = OneDnnInt8Gemm::Create(
        spec.codes.Rows(n, std::min(kOneDnnColumns, weights.n() - n)));
    if (gemm == nullptr) {
      onednn.clear();
      return;
    }
    onednn.push_back(std::move(gemm));
  }
}

size_t Int8Layer::bytes() const {
  size_t onednn_bytes = 0;
  for (const auto& gemm : onednn) onednn_bytes += gemm->packed_bytes();
  return weights.bytes() +
         (scales.size() + group_scales.size() + bias.size() + seeds.size() +
          keep.size() + outlier_columns.size() + inverse_smoothing.size()) *
             sizeof(uint32_t) +
         outlier_weights.size() * sizeof(uint16_t) + onednn_bytes;
}

}  // namespace octet::kernels
