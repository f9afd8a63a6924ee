// Included once by each float_companions_<isa>.cc, which defines
//   OCTET_LANES        floats in a vector
//   OCTET_TILE_ROWS    rows of a register tile
//   OCTET_TILE_VECTORS vectors of a register tile's row
//   Fma(a, b, c), LoadFp16(bits)
//   Larger(a, b), Smaller(a, b)   where b is NaN, NaN
// before, and where the CPU multiplies BF16,
//   OCTET_NATIVE_BF16
//   DotBf16(a, b, sum)     sum + products of two BF16 numbers in each lane
//   NarrowToBf16(low, high)       low's numbers, then high's
//   PairToBf16(first, second)     first's and second's by turns
// Everything has internal linkage and no library code is called, so
// that no wide instruction can leak into other objects.

#ifndef OCTET_LANES
#error "float_companions_body.h is included by float_companions_<isa>.cc only"
#endif

#if defined(__clang__)
#define OCTET_UNROLL _Pragma("unroll")
#else
#define OCTET_UNROLL _Pragma("GCC unroll 16")
#endif

constexpr size_t kLanes = OCTET_LANES;
constexpr size_t kTileRows = OCTET_TILE_ROWS;
constexpr size_t kTileVectors = OCTET_TILE_VECTORS;
constexpr size_t kPanel = kLanes * kTileVectors;

typedef uint32_t Bits __attribute__((vector_size(OCTET_LANES * 4)));
typedef Vector UnalignedVector __attribute__((aligned(4), may_alias));

inline Vector Load(const float* p) {
  return *reinterpret_cast<const UnalignedVector*>(p);
}
inline void Store(float* p, Vector v) {
  *reinterpret_cast<UnalignedVector*>(p) = v;
}
// x - 0 is x. x + 0 is not where x is -0, and would be computed every time.
inline Vector Broadcast(float x) { return x - Vector{}; }

// 16-bit weights by their bits.
struct Fp16 {
  uint16_t bits;
};
struct Bf16 {
  uint16_t bits;
};
typedef uint16_t Shorts __attribute__((vector_size(OCTET_LANES * 2)));
typedef Shorts UnalignedShorts __attribute__((aligned(2), may_alias));

inline Vector Load(const Fp16* p) {
  return LoadFp16(reinterpret_cast<const uint16_t*>(p));
}
inline Vector Load(const Bf16* p) {
  const Shorts shorts = *reinterpret_cast<const UnalignedShorts*>(p);
  return reinterpret_cast<Vector>(__builtin_convertvector(shorts, Bits) << 16);
}

typedef float Four __attribute__((vector_size(16)));
typedef Four UnalignedFour __attribute__((aligned(4), may_alias));

inline float Sum(Vector v) {
  float lanes[kLanes];
  Store(lanes, v);
  const UnalignedFour* fours = reinterpret_cast<const UnalignedFour*>(lanes);
  Four sum = fours[0];
  for (size_t i = 1; i < kLanes / 4; ++i) sum += fours[i];
  return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}
inline float Max(Vector v) {
  float max = v[0];
  for (size_t i = 1; i < kLanes; ++i) max = v[i] > max ? v[i] : max;
  return max;
}

// One FP32 number in a lane.
struct FloatMath {
  static Vector MulAdd(Vector a, Vector b, Vector sum) {
    return Fma(a, b, sum);
  }
};

// c[r][v] = sum_k a[r][k] * b[k][v] [+ c[r][v]], R rows by V vectors, all in
// registers.
template <size_t R, size_t V, typename Math, bool kAdd, typename T>
inline __attribute__((always_inline)) void Tile(const float* a, size_t lda,
                                                const T* b, size_t ldb,
                                                size_t k, float* c,
                                                size_t ldc) {
  Vector acc[R][V];
  OCTET_UNROLL
  for (size_t r = 0; r < R; ++r) {
    OCTET_UNROLL
    for (size_t v = 0; v < V; ++v) {
      acc[r][v] = kAdd ? Load(c + r * ldc + v * kLanes) : Vector{};
    }
  }
  for (size_t p = 0; p < k; ++p) {
    Vector weights[V];
    OCTET_UNROLL
    for (size_t v = 0; v < V; ++v) weights[v] = Load(b + p * ldb + v * kLanes);
    OCTET_UNROLL
    for (size_t r = 0; r < R; ++r) {
      const Vector x = Broadcast(a[r * lda + p]);
      OCTET_UNROLL
      for (size_t v = 0; v < V; ++v) {
        acc[r][v] = Math::MulAdd(x, weights[v], acc[r][v]);
      }
    }
  }
  OCTET_UNROLL
  for (size_t r = 0; r < R; ++r) {
    OCTET_UNROLL
    for (size_t v = 0; v < V; ++v) Store(c + r * ldc + v * kLanes, acc[r][v]);
  }
}

template <size_t V, typename Math, bool kAdd, typename T>
void TileRows(size_t rows, const float* a, size_t lda, const T* b, size_t ldb,
              size_t k, float* c, size_t ldc) {
  switch (rows) {
    case 1:
      return Tile<1, V, Math, kAdd>(a, lda, b, ldb, k, c, ldc);
    case 2:
      return Tile<2, V, Math, kAdd>(a, lda, b, ldb, k, c, ldc);
    case 3:
      return Tile<3, V, Math, kAdd>(a, lda, b, ldb, k, c, ldc);
    case 4:
      return Tile<4, V, Math, kAdd>(a, lda, b, ldb, k, c, ldc);
    case 5:
      return Tile<5, V, Math, kAdd>(a, lda, b, ldb, k, c, ldc);
    default:
      return Tile<kTileRows, V, Math, kAdd>(a, lda, b, ldb, k, c, ldc);
  }
}

// The same for any number of columns that is a multiple of the vector: V
// vectors at a time, then V / 2, and so on.
template <size_t V, typename Math, bool kAdd>
void Product(size_t rows, const float* a, size_t lda, const float* b,
             size_t ldb, size_t k, float* c, size_t ldc, size_t cols) {
  size_t n = 0;
  for (; n + V * kLanes <= cols; n += V * kLanes) {
    TileRows<V, Math, kAdd>(rows, a, lda, b + n, ldb, k, c + n, ldc);
  }
  if constexpr (V > 1) {
    if (n < cols) {
      Product<V / 2, Math, kAdd>(rows, a, lda, b + n, ldb, k, c + n, ldc,
                                 cols - n);
    }
  }
}

inline size_t Min(size_t a, size_t b) { return a < b ? a : b; }
inline size_t RoundUp(size_t n, size_t step) {
  return (n + step - 1) / step * step;
}

template <typename T>
void Panel(const PanelTask& t) {
  const T* b = static_cast<const T*>(t.b);
  float tail[kTileRows * kPanel];
  for (size_t m = 0; m < t.rows; m += kTileRows) {
    const size_t rows = Min(kTileRows, t.rows - m);
    const float* a = t.a + m * t.lda;
    float* c = t.c + m * t.ldc;
    if (t.cols == kPanel) {
      TileRows<kTileVectors, FloatMath, false>(rows, a, t.lda, b, kPanel, t.k,
                                               c, t.ldc);
      continue;
    }
    TileRows<kTileVectors, FloatMath, false>(rows, a, t.lda, b, kPanel, t.k,
                                             tail, kPanel);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t n = 0; n < t.cols; ++n) {
        c[r * t.ldc + n] = tail[r * kPanel + n];
      }
    }
  }
}

// out[j][i] = in[i][j] for 4x4 blocks, the rest one by one.
void Transpose(const float* in, size_t in_stride, size_t rows, size_t cols,
               float* out, size_t out_stride) {
  const size_t block_rows = rows / 4 * 4;
  const size_t block_cols = cols / 4 * 4;
  for (size_t j = 0; j < block_cols; j += 4) {
    for (size_t i = 0; i < block_rows; i += 4) {
      const auto row = [&](size_t r) {
        return *reinterpret_cast<const UnalignedFour*>(in +
                                                       (i + r) * in_stride + j);
      };
      const Four a = row(0), b = row(1), c = row(2), d = row(3);
      const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
      const Four ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
      const Four cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
      const auto store = [&](size_t r, Four v) {
        *reinterpret_cast<UnalignedFour*>(out + (j + r) * out_stride + i) = v;
      };
      store(0, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
      store(1, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
      store(2, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
      store(3, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
    }
  }
  for (size_t j = 0; j < cols; ++j) {
    for (size_t i = j < block_cols ? block_rows : 0; i < rows; ++i) {
      out[j * out_stride + i] = in[i * in_stride + j];
    }
  }
}

// Sum of what `term` makes of each vector of [0, whole). Four sums at a time:
// additions wait for the one before.
template <typename Term>
inline float SumOf(size_t whole, Term term) {
  Vector sums[4] = {};
  size_t i = 0;
  for (; i + 4 * kLanes <= whole; i += 4 * kLanes) {
    OCTET_UNROLL
    for (size_t s = 0; s < 4; ++s) sums[s] = term(i + s * kLanes, sums[s]);
  }
  for (; i < whole; i += kLanes) sums[0] = term(i, sums[0]);
  return Sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

void LayerNormRow(const LayerNormTask& t) {
  const size_t whole = t.width / kLanes * kLanes;
  const float count = static_cast<float>(t.width);
  float sum = SumOf(
      whole, [&](size_t i, Vector before) { return before + Load(t.x + i); });
  for (size_t i = whole; i < t.width; ++i) sum += t.x[i];
  const float mean = sum / count;

  float square = SumOf(whole, [&](size_t i, Vector before) {
    const Vector d = Load(t.x + i) - mean;
    return Fma(d, d, before);
  });
  for (size_t i = whole; i < t.width; ++i) {
    square += (t.x[i] - mean) * (t.x[i] - mean);
  }
  const float inverse = 1.0F / __builtin_sqrtf(square / count + t.epsilon);

  for (size_t i = 0; i < whole; i += kLanes) {
    const Vector normal = (Load(t.x + i) - mean) * inverse;
    Store(t.y + i, Fma(normal, Load(t.weight + i), Load(t.bias + i)));
  }
  for (size_t i = whole; i < t.width; ++i) {
    t.y[i] = (t.x[i] - mean) * inverse * t.weight[i] + t.bias[i];
  }
}

void RmsNormRow(const RmsNormTask& t) {
  const size_t whole = t.width / kLanes * kLanes;
  float square = SumOf(whole, [&](size_t i, Vector before) {
    const Vector x = Load(t.x + i);
    return Fma(x, x, before);
  });
  for (size_t i = whole; i < t.width; ++i) square += t.x[i] * t.x[i];
  const float mean = square / static_cast<float>(t.width);
  const float inverse = 1.0F / __builtin_sqrtf(mean + t.epsilon);

  for (size_t i = 0; i < whole; i += kLanes) {
    Store(t.y + i, Load(t.x + i) * inverse * Load(t.weight + i));
  }
  for (size_t i = whole; i < t.width; ++i) {
    t.y[i] = t.x[i] * inverse * t.weight[i];
  }
}

#include "kernels/float_attention_body.h"
