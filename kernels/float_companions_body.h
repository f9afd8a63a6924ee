// Included once by each float_companions_<isa>.cc, which defines
//   OCTET_LANES        floats in a vector
//   OCTET_TILE_ROWS    rows of a register tile
//   OCTET_TILE_VECTORS vectors of a register tile's row
//   Fma(a, b, c), LoadFp16(bits)
// before. Everything has internal linkage and no library code is called, so
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
inline Vector Broadcast(float x) { return Vector{} + x; }

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

inline float Sum(Vector v) {
  float sum = 0.0F;
  for (size_t i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
}
inline float Max(Vector v) {
  float max = v[0];
  for (size_t i = 1; i < kLanes; ++i) max = v[i] > max ? v[i] : max;
  return max;
}

// exp(x) for x <= 0: relative error below 2e-7 where the result is a normal
// number, 0 below x = -87.33, NaN for NaN.
//   x = n ln 2 + r, |r| <= ln 2 / 2;  exp(x) = 2^n p(r)
inline Vector ExpNonPositive(Vector x) {
  const Vector magic = Broadcast(12582912.0F);  // 1.5 * 2^23: rounds to integer
  const Vector shifted = Fma(x, Broadcast(1.44269504F), magic);
  const Vector n = shifted - magic;
  Vector r = Fma(n, Broadcast(-0.693359375F), x);
  r = Fma(n, Broadcast(2.12194440e-4F), r);
  // Cephes expf.
  Vector p = Broadcast(1.9875691500e-4F);
  p = Fma(p, r, Broadcast(1.3981999507e-3F));
  p = Fma(p, r, Broadcast(8.3334519073e-3F));
  p = Fma(p, r, Broadcast(4.1665795894e-2F));
  p = Fma(p, r, Broadcast(1.6666665459e-1F));
  p = Fma(p, r, Broadcast(5.0000001201e-1F));
  p = Fma(p, r * r, r + 1.0F);
  const Bits exponent =
      (reinterpret_cast<Bits>(shifted) - reinterpret_cast<Bits>(magic)) << 23;
  const Vector result =
      reinterpret_cast<Vector>(reinterpret_cast<Bits>(p) + exponent);
  return x < -87.33F ? Vector{} : result;
}

// c[r][v] = sum_k a[r][k] * b[k][v], R rows by V vectors, all in registers.
template <size_t R, size_t V, typename T>
inline __attribute__((always_inline)) void Tile(const float* a, size_t lda,
                                                const T* b, size_t ldb,
                                                size_t k, float* c,
                                                size_t ldc) {
  Vector acc[R][V];
  OCTET_UNROLL
  for (size_t r = 0; r < R; ++r) {
    OCTET_UNROLL
    for (size_t v = 0; v < V; ++v) acc[r][v] = Vector{};
  }
  for (size_t p = 0; p < k; ++p) {
    Vector weights[V];
    OCTET_UNROLL
    for (size_t v = 0; v < V; ++v) weights[v] = Load(b + p * ldb + v * kLanes);
    OCTET_UNROLL
    for (size_t r = 0; r < R; ++r) {
      const Vector x = Broadcast(a[r * lda + p]);
      OCTET_UNROLL
      for (size_t v = 0; v < V; ++v) acc[r][v] = Fma(x, weights[v], acc[r][v]);
    }
  }
  OCTET_UNROLL
  for (size_t r = 0; r < R; ++r) {
    OCTET_UNROLL
    for (size_t v = 0; v < V; ++v) Store(c + r * ldc + v * kLanes, acc[r][v]);
  }
}

template <size_t V, typename T>
void TileRows(size_t rows, const float* a, size_t lda, const T* b, size_t ldb,
              size_t k, float* c, size_t ldc) {
  switch (rows) {
    case 1:
      return Tile<1, V>(a, lda, b, ldb, k, c, ldc);
    case 2:
      return Tile<2, V>(a, lda, b, ldb, k, c, ldc);
    case 3:
      return Tile<3, V>(a, lda, b, ldb, k, c, ldc);
    case 4:
      return Tile<4, V>(a, lda, b, ldb, k, c, ldc);
    case 5:
      return Tile<5, V>(a, lda, b, ldb, k, c, ldc);
    default:
      return Tile<kTileRows, V>(a, lda, b, ldb, k, c, ldc);
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
      TileRows<kTileVectors>(rows, a, t.lda, b, kPanel, t.k, c, t.ldc);
      continue;
    }
    TileRows<kTileVectors>(rows, a, t.lda, b, kPanel, t.k, tail, kPanel);
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
  typedef float Four __attribute__((vector_size(16)));
  typedef Four UnalignedFour __attribute__((aligned(4), may_alias));
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

// p = exp(scale * (p - max p)) over `length` entries; returns the sum. The row
// may be written up to the next multiple of the vector, where it becomes 0.
float SoftmaxNumerator(float* p, size_t length, float scale) {
  const size_t padded = RoundUp(length, kLanes);
  for (size_t i = length; i < padded; ++i) p[i] = -__builtin_inff();
  Vector max = Load(p);
  for (size_t i = kLanes; i < padded; i += kLanes) {
    const Vector x = Load(p + i);
    max = x > max ? x : max;
  }
  const Vector top = Broadcast(Max(max));
  Vector sum = {};
  for (size_t i = 0; i < padded; i += kLanes) {
    const Vector e = ExpNonPositive((Load(p + i) - top) * scale);
    Store(p + i, e);
    sum += e;
  }
  return Sum(sum);
}

// Scratch of one head: keys transposed [width, padded length], values padded
// [length, padded width], and one block of rows of scores and of results.
struct AttentionScratch {
  size_t padded_length;
  size_t padded_width;
  size_t values;
  size_t scores;
  size_t results;
  size_t total;
};

AttentionScratch LayOut(size_t length, size_t width) {
  AttentionScratch s;
  s.padded_length = RoundUp(length, kPanel);
  s.padded_width = RoundUp(width, kLanes);
  s.values = width * s.padded_length;
  s.scores = s.values + length * s.padded_width;
  s.results = s.scores + kTileRows * s.padded_length;
  s.total = s.results + kTileRows * s.padded_width;
  return s;
}

size_t AttentionScratchSize(size_t length, size_t width) {
  return LayOut(length, width).total;
}

void PackKeysAndValues(const AttentionTask& t, const AttentionScratch& s) {
  Transpose(t.key, t.key_stride, t.length, t.width, t.scratch, s.padded_length);
  for (size_t j = 0; j < t.width; ++j) {
    for (size_t i = t.length; i < s.padded_length; ++i) {
      t.scratch[j * s.padded_length + i] = 0.0F;
    }
  }
  float* values = t.scratch + s.values;
  for (size_t i = 0; i < t.length; ++i) {
    float* to = values + i * s.padded_width;
    const float* from = t.value + i * t.value_stride;
    size_t j = 0;
    for (; j + kLanes <= t.width; j += kLanes) Store(to + j, Load(from + j));
    for (; j < t.width; ++j) to[j] = from[j];
    for (; j < s.padded_width; ++j) to[j] = 0.0F;
  }
}

// softmax(scale q K^T) V, a block of rows at a time: scores never leave L1.
void Attend(const AttentionTask& t) {
  const AttentionScratch s = LayOut(t.length, t.width);
  PackKeysAndValues(t, s);
  const float* keys = t.scratch;
  const float* values = t.scratch + s.values;
  float* scores = t.scratch + s.scores;
  float* results = t.scratch + s.results;
  for (size_t m = 0; m < t.length; m += kTileRows) {
    const size_t rows = Min(kTileRows, t.length - m);
    const float* query = t.query + m * t.query_stride;
    for (size_t n = 0; n < s.padded_length; n += kPanel) {
      TileRows<kTileVectors>(rows, query, t.query_stride, keys + n,
                             s.padded_length, t.width, scores + n,
                             s.padded_length);
    }
    float sums[kTileRows];
    for (size_t r = 0; r < rows; ++r) {
      sums[r] =
          SoftmaxNumerator(scores + r * s.padded_length, t.length, t.scale);
    }
    size_t n = 0;
    for (; n + 2 * kLanes <= s.padded_width; n += 2 * kLanes) {
      TileRows<2>(rows, scores, s.padded_length, values + n, s.padded_width,
                  t.length, results + n, s.padded_width);
    }
    for (; n < s.padded_width; n += kLanes) {
      TileRows<1>(rows, scores, s.padded_length, values + n, s.padded_width,
                  t.length, results + n, s.padded_width);
    }
    for (size_t r = 0; r < rows; ++r) {
      float* out = t.out + (m + r) * t.out_stride;
      for (size_t j = 0; j < t.width; ++j) {
        out[j] = results[r * s.padded_width + j] / sums[r];
      }
    }
  }
}

void LayerNormRow(const LayerNormTask& t) {
  const size_t whole = t.width / kLanes * kLanes;
  const float count = static_cast<float>(t.width);
  Vector sums = {};
  for (size_t i = 0; i < whole; i += kLanes) sums += Load(t.x + i);
  float sum = Sum(sums);
  for (size_t i = whole; i < t.width; ++i) sum += t.x[i];
  const float mean = sum / count;

  Vector squares = {};
  for (size_t i = 0; i < whole; i += kLanes) {
    const Vector d = Load(t.x + i) - mean;
    squares = Fma(d, d, squares);
  }
  float square = Sum(squares);
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
