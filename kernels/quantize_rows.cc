#include "kernels/quantize_rows.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/element_type.h"
#include "kernels/int8_linear.h"
#include "kernels/rounding.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {
namespace {

constexpr uint32_t kInfinity = 0x7f800000;

// The row as FP32, smoothed: x itself where that is what it is.
const float* Smoothed(const TileOps& ops, const RowCoding& coding,
                      const void* x, ElementType type, size_t k,
                      float* values) {
  if (type == ElementType::kFp32 && coding.inverse_smoothing == nullptr) {
    return static_cast<const float*>(x);
  }
  ops.load_row({x, type, coding.inverse_smoothing}, k, values);
  return values;
}

// False where one of them is not finite.
bool GatherOutliers(const RowCoding& coding, const float* v, float* outliers) {
  bool finite = true;
  for (size_t i = 0; i < coding.outlier_columns.size(); ++i) {
    outliers[i] = v[coding.outlier_columns[i]];
    finite = finite && std::isfinite(outliers[i]);
  }
  return finite;
}

// v without the outlier columns, rotated.
void Rotate(const TileOps& ops, const RowCoding& coding, const float* v,
            size_t k, float* values) {
  if (v != values) std::memcpy(values, v, k * sizeof(float));
  for (const int32_t column : coding.outlier_columns) values[column] = 0.0F;
  ops.hadamard(values, k, coding.hadamard_block);
}

void FillZero(const RowCoding& coding, size_t begin, size_t end,
              uint8_t* codes) {
  if (begin < end) std::memset(codes + begin, coding.zero_byte(), end - begin);
}

// Per token; NaN for a row that is not finite.
float ScaleOf(const RowMaxima& maxima) {
  return maxima.all >= kInfinity
             ? std::numeric_limits<float>::quiet_NaN()
             : AbsmaxToScale(std::bit_cast<float>(maxima.kept));
}

CodeRule RuleOf(const RowCoding& coding, float scale) {
  return {.inverse = InverseScale(scale),
          .zero_point = coding.zero_point(),
          .flip = coding.code_offset,
          .symmetric = coding.coding == ActivationCoding::kPerToken};
}

RowFilter FilterOf(const RowCoding& coding) {
  RowFilter filter = coding.filter;
  if (coding.hadamard_block != 0) filter.keep = nullptr;  // out before
  return filter;
}

}  // namespace

MeasuredRow MeasureRow(const TileOps& ops, const RowCoding& coding,
                       const void* x, ElementType type, size_t k, float* values,
                       float* outliers) {
  MeasuredRow row;
  row.values = Smoothed(ops, coding, x, type, k, values);
  const bool finite = GatherOutliers(coding, row.values, outliers);
  if (coding.hadamard_block != 0) {
    Rotate(ops, coding, row.values, k, values);
    row.values = values;
  }
  const RowMaxima maxima = ops.row_maxima(row.values, k, FilterOf(coding));
  if (!finite || maxima.all >= kInfinity) {
    row.scale = std::numeric_limits<float>::quiet_NaN();
    return row;
  }
  row.scale = coding.coding == ActivationCoding::kPerToken ? ScaleOf(maxima)
                                                           : coding.input_scale;
  row.has_live = maxima.has_live;
  return row;
}

void CodeRow(const TileOps& ops, const RowCoding& coding,
             const MeasuredRow& row, size_t k, size_t padded_k,
             uint8_t* codes) {
  if (std::isnan(row.scale)) return FillZero(coding, 0, padded_k, codes);
  ops.row_codes(row.values, k, FilterOf(coding), RuleOf(coding, row.scale),
                codes);
  FillZero(coding, k, padded_k, codes);
}

float CodeRowAndMeasure(const TileOps& ops, const RowCoding& coding,
                        const float* x, float scale, size_t k, size_t padded_k,
                        uint8_t* codes, const float* next) {
  if (std::isnan(scale)) {
    FillZero(coding, 0, padded_k, codes);
    return ScaleOf(ops.row_maxima(next, k, RowFilter{}));
  }
  const RowMaxima maxima =
      ops.codes_and_maxima(x, k, RuleOf(coding, scale), codes, next);
  FillZero(coding, k, padded_k, codes);
  return ScaleOf(maxima);
}

float CodeStaticRow(const TileOps& ops, const RowCoding& coding, const float* x,
                    size_t k, size_t padded_k, uint8_t* codes) {
  const RowMaxima maxima =
      ops.codes_and_maxima(x, k, RuleOf(coding, coding.input_scale), codes, x);
  const bool finite = maxima.all < kInfinity;
  FillZero(coding, finite ? k : 0, padded_k, codes);
  return finite ? coding.input_scale : std::numeric_limits<float>::quiet_NaN();
}

void CopyCodes(const RowCoding& coding, const uint8_t* x, size_t k,
               size_t padded_k, uint8_t* codes) {
  const auto flip = static_cast<uint8_t>(coding.code_offset);
  if (flip == 0) {
    std::memcpy(codes, x, k);
  } else {
    for (size_t i = 0; i < k; ++i) codes[i] = x[i] ^ flip;
  }
  FillZero(coding, k, padded_k, codes);
}

uint32_t LiveBits(float threshold) {
  return threshold > 0.0F ? std::bit_cast<uint32_t>(threshold) : kInfinity;
}

}  // namespace octet::kernels
