#include "server/quantization/methods/gptq.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/quantization/methods/hessian.h"
#include "server/quantization/methods/weight_quantizer.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;

// Inputs whose columns go together, and of which some are larger.
std::vector<float> Samples(size_t rows, size_t columns, uint32_t seed) {
  std::vector<float> x = RandomValues(rows * columns, seed);
  for (size_t i = 0; i < rows; ++i) {
    float* const row = x.data() + i * columns;
    const float common = row[0];
    for (size_t k = 0; k < columns; ++k) {
      row[k] = (row[k] + 2 * common) * static_cast<float>(1 + k % 5);
    }
  }
  return x;
}

struct Weights {
  size_t rows;
  size_t columns;
  size_t group_size;
  std::vector<float> values;
  std::vector<float> scales;

  Weights(size_t rows, size_t columns, size_t group_size, uint32_t seed)
      : rows(rows),
        columns(columns),
        group_size(group_size),
        values(RandomValues(rows * columns, seed, 0.05F)),
        scales(rows * GroupsOf(columns, group_size)) {
    const size_t groups = GroupsOf(columns, group_size);
    for (size_t n = 0; n < rows; ++n) {
      ScaleRow({values.data() + n * columns, columns}, group_size,
               scales.data() + n * groups);
    }
  }
  MatrixView<const float> view() const {
    return {values.data(), rows, columns};
  }
  double scale(size_t n, size_t k) const {
    const size_t groups = GroupsOf(columns, group_size);
    return scales[n * groups + (group_size == 0 ? 0 : k / group_size)];
  }
  std::vector<int8_t> Nearest() const {
    std::vector<int8_t> codes(values.size());
    const size_t groups = GroupsOf(columns, group_size);
    for (size_t n = 0; n < rows; ++n) {
      RoundRow({values.data() + n * columns, columns},
               scales.data() + n * groups, group_size,
               codes.data() + n * columns);
    }
    return codes;
  }
};

std::vector<int8_t> Compensated(const Weights& weights,
                                const std::vector<float>& x,
                                kernels::ThreadPool* pool = nullptr) {
  const auto compensation = ErrorCompensation::Create(
      {x.data(), x.size() / weights.columns, weights.columns}, kGptqDamping,
      pool);
  EXPECT_THAT(compensation, IsOk());
  std::vector<int8_t> codes(weights.values.size());
  EXPECT_THAT(compensation->Round(weights.view(), weights.scales,
                                  weights.group_size, pool, codes.data()),
              IsOk());
  return codes;
}

// The damped second moments, in double.
std::vector<double> NaiveHessian(const std::vector<float>& x, size_t columns) {
  const size_t rows = x.size() / columns;
  std::vector<double> h(columns * columns);
  for (size_t i = 0; i < rows; ++i) {
    for (size_t a = 0; a < columns; ++a) {
      for (size_t b = 0; b < columns; ++b) {
        h[a * columns + b] += static_cast<double>(x[i * columns + a]) *
                              x[i * columns + b] / static_cast<double>(rows);
      }
    }
  }
  double trace = 0.0;
  for (size_t k = 0; k < columns; ++k) trace += h[k * columns + k];
  for (size_t k = 0; k < columns; ++k) {
    h[k * columns + k] += kGptqDamping * trace / static_cast<double>(columns);
  }
  return h;
}

std::vector<double> Inverse(std::vector<double> a, size_t n) {
  std::vector<double> inverse(n * n);
  for (size_t i = 0; i < n; ++i) inverse[i * n + i] = 1.0;
  for (size_t p = 0; p < n; ++p) {
    const double pivot = a[p * n + p];
    for (size_t k = 0; k < n; ++k) {
      a[p * n + k] /= pivot;
      inverse[p * n + k] /= pivot;
    }
    for (size_t i = 0; i < n; ++i) {
      if (i == p) continue;
      const double factor = a[i * n + p];
      for (size_t k = 0; k < n; ++k) {
        a[i * n + k] -= factor * a[p * n + k];
        inverse[i * n + k] -= factor * inverse[p * n + k];
      }
    }
  }
  return inverse;
}

// Optimal brain surgeon, as the paper writes it before it makes it fast: a
// weight is rounded, the others move by its error, and its row and column are
// eliminated from the inverse. Largest moments first, later columns first.
std::vector<int8_t> NaiveCodes(const Weights& weights,
                               const std::vector<float>& x) {
  const size_t n = weights.columns;
  const std::vector<double> h = NaiveHessian(x, n);
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return h[a * n + a] < h[b * n + b];
  });
  std::reverse(order.begin(), order.end());
  std::vector<double> inverse = Inverse(h, n);
  std::vector<double> w(weights.values.begin(), weights.values.end());
  std::vector<int8_t> codes(w.size());
  for (const size_t j : order) {
    const double pivot = inverse[j * n + j];
    for (size_t r = 0; r < weights.rows; ++r) {
      const double s = weights.scale(r, j);
      const double code =
          std::nearbyint(std::clamp(w[r * n + j] / s, -127.0, 127.0));
      codes[r * n + j] = static_cast<int8_t>(code);
      const double error = (w[r * n + j] - s * code) / pivot;
      for (size_t k = 0; k < n; ++k) {
        w[r * n + k] -= error * inverse[j * n + k];
      }
    }
    const std::vector<double> row(inverse.begin() + j * n,
                                  inverse.begin() + (j + 1) * n);
    for (size_t a = 0; a < n; ++a) {
      for (size_t b = 0; b < n; ++b) {
        inverse[a * n + b] -= row[a] * row[b] / pivot;
      }
    }
  }
  return codes;
}

// Mean square of (w - s q) x over samples and outputs.
double OutputError(const Weights& weights, const std::vector<int8_t>& codes,
                   const std::vector<float>& x) {
  double sum = 0.0;
  for (size_t i = 0; i < x.size() / weights.columns; ++i) {
    for (size_t n = 0; n < weights.rows; ++n) {
      double y = 0.0;
      for (size_t k = 0; k < weights.columns; ++k) {
        const size_t at = n * weights.columns + k;
        y += (weights.values[at] - weights.scale(n, k) * codes[at]) *
             x[i * weights.columns + k];
      }
      sum += y * y;
    }
  }
  return sum;
}

TEST(ErrorCompensation, MatchesThePapersUpdateOfAllOtherWeights) {
  for (const size_t group_size : {size_t{0}, size_t{32}}) {
    for (const size_t columns : {size_t{5}, size_t{70}, size_t{130}}) {
      SCOPED_TRACE(testing::Message() << columns << " / " << group_size);
      const Weights weights(6, columns, group_size, 11);
      const std::vector<float> x = Samples(300, columns, 12);
      const std::vector<int8_t> codes = Compensated(weights, x);
      const std::vector<int8_t> naive = NaiveCodes(weights, x);
      size_t different = 0;
      for (size_t i = 0; i < codes.size(); ++i) {
        different += codes[i] != naive[i];
      }
      // FP32 against double: a code on the edge takes its row with it.
      EXPECT_LE(different, codes.size() / 50);
      EXPECT_NEAR(OutputError(weights, codes, x),
                  OutputError(weights, naive, x),
                  0.02 * OutputError(weights, naive, x));
    }
  }
}

TEST(ErrorCompensation, HalvesTheOutputErrorOfNearest) {
  const Weights weights(16, 96, 0, 1);
  const std::vector<float> x = Samples(1000, 96, 2);
  EXPECT_LT(OutputError(weights, Compensated(weights, x), x),
            0.5 * OutputError(weights, weights.Nearest(), x));
  // On rows it has not seen, too.
  const std::vector<float> unseen = Samples(500, 96, 3);
  EXPECT_LT(OutputError(weights, Compensated(weights, x), unseen),
            0.5 * OutputError(weights, weights.Nearest(), unseen));
}

TEST(ErrorCompensation, IndependentInputsAreRoundedToNearest) {
  // Each column is seen alone: H is diagonal.
  const Weights weights(3, 40, 0, 4);
  std::vector<float> x(40 * 40, 0.0F);
  for (size_t k = 0; k < 40; ++k) x[k * 40 + k] = static_cast<float>(k + 1);
  EXPECT_EQ(Compensated(weights, x), weights.Nearest());
}

TEST(ErrorCompensation, RowsAndThreadsDoNotMatter) {
  const Weights weights(9, 100, 32, 5);
  const std::vector<float> x = Samples(60, 100, 6);
  kernels::ThreadPool pool(3);
  const std::vector<int8_t> codes = Compensated(weights, x);
  EXPECT_EQ(Compensated(weights, x, &pool), codes);
  Weights alone(1, 100, 32, 5);
  alone.values.assign(weights.values.begin() + 400,
                      weights.values.begin() + 500);
  ScaleRow(alone.values, 32, alone.scales.data());
  const std::vector<int8_t> row = Compensated(alone, x);
  EXPECT_EQ(row, std::vector<int8_t>(codes.begin() + 400, codes.begin() + 500));
}

TEST(ErrorCompensation, ShapesThatAreSmallOrOdd) {
  for (const size_t columns : {1, 2, 63, 64, 65}) {
    for (const size_t samples : {1, 3, 200}) {
      SCOPED_TRACE(testing::Message() << columns << " x " << samples);
      Weights weights(1, columns, 0, 7);
      const std::vector<float> x = Samples(samples, columns, 8);
      const std::vector<int8_t> codes = Compensated(weights, x);
      EXPECT_LE(OutputError(weights, codes, x),
                1.01 * OutputError(weights, weights.Nearest(), x) + 1e-12);
    }
  }
}

TEST(ErrorCompensation, AChannelOfZerosStaysZero) {
  Weights weights(2, 50, 0, 9);
  std::fill_n(weights.values.begin(), 50, 0.0F);
  weights.scales[0] = 1.0F;
  const std::vector<int8_t> codes = Compensated(weights, Samples(100, 50, 10));
  EXPECT_EQ(std::vector<int8_t>(codes.begin(), codes.begin() + 50),
            std::vector<int8_t>(50, 0));
}

TEST(ErrorCompensation, ColumnsBeyondTheLimitAreTakenInBlocks) {
  constexpr size_t kColumns = kMaxHessianColumns + 2;
  constexpr size_t kHalf = kColumns / 2;
  const Weights weights(1, kColumns, 0, 13);
  const std::vector<float> x = Samples(4, kColumns, 14);
  const std::vector<int8_t> codes = Compensated(weights, x);
  // The second half alone, on its own columns.
  Weights half(1, kHalf, 0, 13);
  half.values.assign(weights.values.begin() + kHalf, weights.values.end());
  half.scales = weights.scales;
  std::vector<float> part;
  for (size_t i = 0; i < 4; ++i) {
    part.insert(part.end(), x.begin() + i * kColumns + kHalf,
                x.begin() + (i + 1) * kColumns);
  }
  EXPECT_EQ(Compensated(half, part),
            std::vector<int8_t>(codes.begin() + kHalf, codes.end()));
}

TEST(ErrorCompensation, InputsThatSayNothingAreRefused) {
  const std::vector<float> zeros(30, 0.0F);
  EXPECT_THAT(
      ErrorCompensation::Create({zeros.data(), 3, 10}, kGptqDamping, nullptr),
      FailsWith(absl::StatusCode::kFailedPrecondition,
                "the second moments of 3 sample rows sum up to 0"));
  const std::vector<float> huge(30, 3e38F);
  EXPECT_THAT(
      ErrorCompensation::Create({huge.data(), 3, 10}, kGptqDamping, nullptr),
      FailsWith(absl::StatusCode::kFailedPrecondition, "sum up to inf"));
}

TEST(ErrorCompensation, FewerRowsThanColumnsNeedDamping) {
  const std::vector<float> x(40, 1.0F);
  EXPECT_THAT(
      ErrorCompensation::Create({x.data(), 4, 10}, /*damping=*/0.0F, nullptr),
      FailsWith(absl::StatusCode::kFailedPrecondition,
                "singular at column 1 (pivot 0): calibrate on more"));
}

// Says true from its call number `n` on.
std::function<bool()> CancelledAt(int n) {
  return [n, calls = 0]() mutable { return ++calls >= n; };
}

TEST(ErrorCompensation, StopsWithinABlocksWork) {
  constexpr size_t kColumns = 200;
  const std::vector<float> x = Samples(300, kColumns, 16);
  const MatrixView<const float> rows(x.data(), 300, kColumns);
  // Before the moments, and before each 64 columns of their factor.
  for (const int call : {1, 2, 5}) {
    EXPECT_THAT(ErrorCompensation::Create(rows, kGptqDamping, nullptr,
                                          CancelledAt(call)),
                FailsWith(absl::StatusCode::kCancelled, ""))
        << call;
  }
  const auto made =
      ErrorCompensation::Create(rows, kGptqDamping, nullptr, CancelledAt(6));
  ASSERT_THAT(made, IsOk());
  const std::vector<float> weights(kColumns, 0.5F);
  const std::vector<float> scales(1, 0.01F);
  std::vector<int8_t> codes(kColumns);
  EXPECT_THAT(made->Round({weights.data(), 1, kColumns}, scales, 0, nullptr,
                          codes.data()),
              FailsWith(absl::StatusCode::kCancelled, ""));
}

TEST(Cholesky, TimesItsTransposedIsTheMatrix) {
  for (const size_t n : {1, 2, 64, 65, 200, 330}) {
    SCOPED_TRACE(n);
    const std::vector<float> x = Samples(2 * n, n, 15);
    const auto h = DampedHessian({x.data(), 2 * n, n}, 0.01F, nullptr);
    ASSERT_THAT(h, IsOk());
    std::vector<float> l = *h;
    kernels::ThreadPool pool(2);
    ASSERT_THAT(Cholesky({l.data(), n, n}, &pool), IsOk());
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        double sum = 0.0;
        for (size_t k = 0; k <= j; ++k) {
          sum += static_cast<double>(l[i * n + k]) * l[j * n + k];
        }
        const double size =
            std::sqrt((*h)[i * n + i] * static_cast<double>((*h)[j * n + j]));
        ASSERT_NEAR(sum, (*h)[i * n + j], 1e-4 * size) << i << ", " << j;
      }
    }
  }
}

}  // namespace
}  // namespace octet::quantization
