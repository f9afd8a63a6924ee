// Attention of one head; the second half of float_companions_body.h.
//
//   p[i,j] = 2^(c q_i . k_j - shift_i)             c = scale / ln 2
//   out_i  = sum_j p[i,j] v_j / sum_j p[i,j]
//
// Every shift gives the same result as long as nothing overflows or vanishes,
// so a row is first tried with shift 0, which saves finding its maximum. Where
// the sum of its p is not within 2^-40 and 2^40, the row is done again with its
// maximum as the shift. A row of scores exists for one block of keys only.
//
// Operands are read as words: one FP32 number, or two BF16 numbers that the
// CPU's BF16 instruction multiplies and adds at once.

struct Fp32Words {
  static constexpr size_t kNumbers = 1;  // in a word
  static constexpr size_t kExp2Degree = 6;

  static Vector MulAdd(Vector a, Vector b, Vector sum) {
    return Fma(a, b, sum);
  }
  static void StoreTwo(float* words, Vector low, Vector high) {
    Store(words, low);
    Store(words + kLanes, high);
  }
  static Vector Pair(Vector first, Vector /*second*/) { return first; }
};

#ifdef OCTET_NATIVE_BF16
struct Bf16Words {
  static constexpr size_t kNumbers = 2;
  static constexpr size_t kExp2Degree = 3;

  static Vector MulAdd(Vector a, Vector b, Vector sum) {
    return DotBf16(a, b, sum);
  }
  static void StoreTwo(float* words, Vector low, Vector high) {
    Store(words, NarrowToBf16(low, high));
  }
  static Vector Pair(Vector first, Vector second) {
    return PairToBf16(first, second);
  }
};
#else
// Rounded to BF16, half to even, and widened again; NaN stays NaN.
inline Vector RoundToBf16(Vector x) {
  const Bits bits = reinterpret_cast<Bits>(x);
  const Bits rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000;
  return x != x ? x : reinterpret_cast<Vector>(rounded);
}

// The same numbers where no instruction multiplies them: in FP32.
struct Bf16Words {
  static constexpr size_t kNumbers = 1;
  static constexpr size_t kExp2Degree = 3;

  static Vector MulAdd(Vector a, Vector b, Vector sum) {
    return Fma(a, b, sum);
  }
  static void StoreTwo(float* words, Vector low, Vector high) {
    Store(words, RoundToBf16(low));
    Store(words + kLanes, RoundToBf16(high));
  }
  static Vector Pair(Vector first, Vector /*second*/) {
    return RoundToBf16(first);
  }
};
#endif

// 2^x for x in [-125, 126]: relative error 8e-8 at degree 6, 8e-5 at degree 3,
// an eighth of half a unit in BF16's last place. NaN stays NaN.
//   x = n + r, |r| <= 1/2;  2^x = 2^n p(r)
template <size_t kDegree>
inline Vector Exp2(Vector x) {
  const Vector magic = Broadcast(12582912.0F);  // 1.5 * 2^23: rounds to integer
  const Vector shifted = x + magic;
  const Vector r = x - (shifted - magic);
  Vector p;
  if constexpr (kDegree == 3) {
    p = Broadcast(0.0551716685F);
    p = Fma(p, r, Broadcast(0.242611125F));
    p = Fma(p, r, Broadcast(0.693260968F));
    p = Fma(p, r, Broadcast(0.999928057F));
  } else {
    p = Broadcast(1.53458124e-4F);
    p = Fma(p, r, Broadcast(1.33999309e-3F));
    p = Fma(p, r, Broadcast(9.61848907e-3F));
    p = Fma(p, r, Broadcast(5.55032864e-2F));
    p = Fma(p, r, Broadcast(0.240226462F));
    p = Fma(p, r, Broadcast(0.693147182F));
    p = Fma(p, r, Broadcast(1.0F));
  }
  const Bits power = (reinterpret_cast<Bits>(shifted) << 23) + 0x3F800000;
  return p * reinterpret_cast<Vector>(power);
}

constexpr size_t kKeyBlock = size_t{4} * 64;  // keys whose scores are kept: L1
constexpr size_t kTwoVectors = 2 * kLanes;
static_assert(kKeyBlock % kPanel == 0 && kPanel % kTwoVectors == 0);

// Scratch of one head, in floats. Keys lie in panels [words][kPanel], values
// as [words of length][padded width].
struct AttentionScratch {
  size_t words;  // of a row of q or k
  size_t padded_width;
  size_t values;
  size_t rows;     // [kPanel, words]: of k on the way to a panel, or of q
  size_t scores;   // [kTileRows, kPanel]
  size_t weights;  // [kTileRows, kKeyBlock]: p, as words
  size_t results;  // [kTileRows, padded width]
  size_t total;
};

AttentionScratch LayOut(size_t length, size_t width) {
  AttentionScratch s;
  s.words = RoundUp(width, kTwoVectors);
  s.padded_width = RoundUp(width, kLanes);
  s.values = s.words * RoundUp(length, kPanel);
  s.rows = s.values + RoundUp(length, 2) * s.padded_width;
  s.scores = s.rows + kPanel * s.words;
  s.weights = s.scores + kTileRows * kPanel;
  s.results = s.weights + kTileRows * kKeyBlock;
  s.total = s.results + kTileRows * s.padded_width;
  return s;
}

size_t AttentionScratchSize(size_t length, size_t width) {
  return LayOut(length, width).total;
}

template <typename Words>
class Head {
 public:
  explicit Head(const AttentionTask& task)
      : t_(task),
        s_(LayOut(task.length, task.width)),
        words_(RoundUp(task.width, Words::kNumbers) / Words::kNumbers) {}

  void Run() {
    PackKeys();
    PackValues();
    for (size_t m = 0; m < t_.length; m += kTileRows) {
      const size_t rows = Min(kTileRows, t_.length - m);
      PackRows(t_.query + m * t_.query_stride, t_.query_stride, rows,
               t_.scale * 1.44269504F);
      AttendRows(m, rows);
    }
  }

 private:
  // What a block of rows has come to.
  struct RowSums {
    Vector lanes[kTileRows];
    float shift[kTileRows];
  };

  float* keys() const { return t_.scratch; }
  float* values() const { return t_.scratch + s_.values; }
  float* rows() const { return t_.scratch + s_.rows; }
  float* scores() const { return t_.scratch + s_.scores; }
  float* weights() const { return t_.scratch + s_.weights; }
  float* results() const { return t_.scratch + s_.results; }

  // A head's rows are short and far apart, in pages of their own, where the
  // CPU's prefetchers do not follow.
  void AskForRow(const float* from, size_t stride) const {
    constexpr size_t kRowsAhead = 8;
    constexpr size_t kLineFloats = 16;
    for (size_t j = 0; j < t_.width; j += kLineFloats) {
      __builtin_prefetch(from + kRowsAhead * stride + j);
    }
  }

  // Rows of `width` floats times `scale`, as words.
  void PackRows(const float* from, size_t stride, size_t count,
                float scale) const {
    const size_t whole = t_.width / kTwoVectors * kTwoVectors;
    for (size_t i = 0; i < count; ++i, from += stride) {
      AskForRow(from, stride);
      float* to = rows() + i * words_;
      for (size_t j = 0; j < whole; j += kTwoVectors) {
        Words::StoreTwo(to + j / Words::kNumbers, Load(from + j) * scale,
                        Load(from + j + kLanes) * scale);
      }
      if (whole == t_.width) continue;
      float tail[kTwoVectors] = {};
      for (size_t j = whole; j < t_.width; ++j) {
        tail[j - whole] = from[j] * scale;
      }
      float packed[kTwoVectors];
      Words::StoreTwo(packed, Load(tail), Load(tail + kLanes));
      const size_t first = whole / Words::kNumbers;
      for (size_t j = first; j < words_; ++j) to[j] = packed[j - first];
    }
  }

  void PackKeys() const {
    for (size_t n = 0; n < t_.length; n += kPanel) {
      const size_t count = Min(kPanel, t_.length - n);
      PackRows(t_.key + n * t_.key_stride, t_.key_stride, count, 1.0F);
      float* panel = keys() + n * words_;
      Transpose(rows(), words_, count, words_, panel, kPanel);
      const size_t end = RoundUp(count, kLanes);
      for (size_t j = 0; count < end && j < words_; ++j) {
        for (size_t i = count; i < end; ++i) panel[j * kPanel + i] = 0.0F;
      }
    }
  }

  // Values of a row, zeros beyond its width and beyond the last row.
  Vector Value(size_t row, size_t column) const {
    if (row >= t_.length) return Vector{};
    const float* from = t_.value + row * t_.value_stride + column;
    if (column + kLanes <= t_.width) return Load(from);
    float part[kLanes] = {};
    for (size_t j = 0; j < t_.width - column; ++j) part[j] = from[j];
    return Load(part);
  }

  void PackValues() const {
    float* to = values();
    for (size_t i = 0; i < t_.length; i += Words::kNumbers) {
      for (size_t row = i; row < i + Words::kNumbers; ++row) {
        AskForRow(t_.value + row * t_.value_stride, t_.value_stride);
      }
      for (size_t j = 0; j < s_.padded_width; j += kLanes, to += kLanes) {
        const Vector first = Value(i, j);
        Store(to, Words::Pair(first,
                              Words::kNumbers == 2 ? Value(i + 1, j) : first));
      }
    }
  }

  // q k^T of the packed rows and one panel; -infinity where keys end.
  void Score(size_t rows_count, size_t key, size_t count) const {
    const float* panel = keys() + key * words_;
    const size_t end = RoundUp(count, kLanes);
    Product<kTileVectors, Words, false>(rows_count, rows(), words_, panel,
                                        kPanel, words_, scores(), kPanel, end);
    const size_t even = RoundUp(count, kTwoVectors);
    for (size_t r = 0; count < even && r < rows_count; ++r) {
      for (size_t i = count; i < even; ++i) {
        scores()[r * kPanel + i] = -__builtin_inff();
      }
    }
  }

  // p of one panel of scores, to weights() as words and to the sums. 2^-125,
  // where a score is lower, is nothing beside a sum of 2^-40.
  template <bool kShift>
  void Weigh(size_t rows_count, size_t count, float* to, RowSums& sums) const {
    for (size_t r = 0; r < rows_count; ++r) {
      const float* from = scores() + r * kPanel;
      float* row = to + r * kKeyBlock;
      Vector sum = sums.lanes[r];
      for (size_t i = 0; i < count; i += kTwoVectors) {
        const Vector low = P<kShift>(Load(from + i), sums.shift[r]);
        const Vector high = P<kShift>(Load(from + i + kLanes), sums.shift[r]);
        Words::StoreTwo(row + i / Words::kNumbers, low, high);
        sum += low + high;
      }
      sums.lanes[r] = sum;
    }
  }

  template <bool kShift>
  static Vector P(Vector score, float shift) {
    Vector x = kShift ? score - shift : score;
    x = Larger(Broadcast(-125.0F), x);
    if (!kShift) x = Smaller(Broadcast(126.0F), x);
    return Exp2<Words::kExp2Degree>(x);
  }

  template <bool kShift>
  void AttendBlocks(size_t rows_count, RowSums& sums) const {
    for (size_t r = 0; r < rows_count; ++r) sums.lanes[r] = Vector{};
    for (size_t block = 0; block < t_.length; block += kKeyBlock) {
      const size_t keys_count = Min(kKeyBlock, t_.length - block);
      for (size_t n = 0; n < keys_count; n += kPanel) {
        const size_t count = Min(kPanel, keys_count - n);
        Score(rows_count, block + n, count);
        Weigh<kShift>(rows_count, count, weights() + n / Words::kNumbers, sums);
      }
      const float* from = values() + block / Words::kNumbers * s_.padded_width;
      const size_t depth =
          RoundUp(keys_count, Words::kNumbers) / Words::kNumbers;
      const auto product = block == 0 ? Product<kTileVectors, Words, false>
                                      : Product<kTileVectors, Words, true>;
      product(rows_count, weights(), kKeyBlock, from, s_.padded_width, depth,
              results(), s_.padded_width, s_.padded_width);
    }
  }

  void MaxScores(size_t rows_count, float* max) const {
    Vector lanes[kTileRows];
    for (size_t r = 0; r < rows_count; ++r) {
      lanes[r] = Broadcast(-__builtin_inff());
    }
    for (size_t n = 0; n < t_.length; n += kPanel) {
      const size_t count = Min(kPanel, t_.length - n);
      Score(rows_count, n, count);
      for (size_t r = 0; r < rows_count; ++r) {
        for (size_t i = 0; i < count; i += kLanes) {
          const Vector x = Load(scores() + r * kPanel + i);
          lanes[r] = x > lanes[r] ? x : lanes[r];
        }
      }
    }
    for (size_t r = 0; r < rows_count; ++r) max[r] = Max(lanes[r]);
  }

  // The rows whose sum left the range get a shift, the others the same again.
  void AttendAgain(size_t rows_count, float* total) const {
    RowSums sums;
    MaxScores(rows_count, sums.shift);
    for (size_t r = 0; r < rows_count; ++r) {
      if (Fits(total[r])) sums.shift[r] = 0.0F;
    }
    AttendBlocks<true>(rows_count, sums);
    for (size_t r = 0; r < rows_count; ++r) total[r] = Sum(sums.lanes[r]);
  }

  static bool Fits(float total) {
    return total >= 0x1p-40F && total <= 0x1p40F;
  }

  void AttendRows(size_t m, size_t rows_count) const {
    RowSums sums;
    for (float& shift : sums.shift) shift = 0.0F;
    AttendBlocks<false>(rows_count, sums);
    float total[kTileRows];
    bool fits = true;
    for (size_t r = 0; r < rows_count; ++r) {
      total[r] = Sum(sums.lanes[r]);
      fits = fits && Fits(total[r]);
    }
    if (!fits) AttendAgain(rows_count, total);
    for (size_t r = 0; r < rows_count; ++r) {
      WriteRow(results() + r * s_.padded_width, 1.0F / total[r],
               t_.out + (m + r) * t_.out_stride);
    }
  }

  void WriteRow(const float* from, float factor, float* to) const {
    const size_t whole = t_.width / kLanes * kLanes;
    for (size_t j = 0; j < whole; j += kLanes) {
      Store(to + j, Load(from + j) * factor);
    }
    for (size_t j = whole; j < t_.width; ++j) to[j] = from[j] * factor;
  }

  const AttentionTask& t_;
  const AttentionScratch s_;
  const size_t words_;
};

void Attend(const AttentionTask& task) {
  if (task.precision == AttentionPrecision::kBf16) {
    Head<Bf16Words>(task).Run();
  } else {
    Head<Fp32Words>(task).Run();
  }
}
