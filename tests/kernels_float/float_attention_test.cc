#include "kernels/float_attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels_float/test_data.h"

namespace octet::kernels {
namespace {

// One head of one sequence, in double, straight from the formula.
std::vector<double> Reference(MatrixView<const float> q,
                              MatrixView<const float> k,
                              MatrixView<const float> v) {
  std::vector<double> out(q.rows * q.cols);
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.cols));
  for (size_t i = 0; i < q.rows; ++i) {
    std::vector<double> scores(q.rows);
    double max = -INFINITY;
    for (size_t j = 0; j < q.rows; ++j) {
      for (size_t c = 0; c < q.cols; ++c) {
        scores[j] += static_cast<double>(q.row(i)[c]) * k.row(j)[c];
      }
      scores[j] *= scale;
      max = std::max(max, scores[j]);
    }
    double sum = 0.0;
    for (double& s : scores) sum += s = std::exp(s - max);
    for (size_t j = 0; j < q.rows; ++j) {
      for (size_t c = 0; c < q.cols; ++c) {
        out[i * q.cols + c] += scores[j] / sum * v.row(j)[c];
      }
    }
  }
  return out;
}

struct Shape {
  size_t length;
  size_t width;
};

class AttentionShapes : public testing::TestWithParam<Shape> {
 protected:
  // Wider than the head on purpose: strides are not widths. Queries and keys
  // of deviation `spread`.
  void ExpectCloseToDouble(AttentionPrecision precision, float spread,
                           double tolerance) {
    const auto [length, width] = GetParam();
    const size_t stride = width + 3;
    const TestMatrix q = Normal(length, stride, 1, spread);
    const TestMatrix k = Normal(length, stride, 2, spread);
    const TestMatrix v = Normal(length, stride, 3);
    const auto expected =
        Reference(q.view().Columns(0, width), k.view().Columns(0, width),
                  v.view().Columns(0, width));
    for (const FloatCompanions* companions : CompanionsThisCpuRuns()) {
      SCOPED_TRACE(companions->isa);
      TestMatrix out(length, stride);
      std::vector<float> scratch(companions->attention_scratch(length, width));
      companions->attention({.query = q.data.data(),
                             .key = k.data.data(),
                             .value = v.data.data(),
                             .out = out.data.data(),
                             .query_stride = stride,
                             .key_stride = stride,
                             .value_stride = stride,
                             .out_stride = stride,
                             .length = length,
                             .width = width,
                             .scale = 1.0F / std::sqrt(float(width)),
                             .scratch = scratch.data(),
                             .precision = precision});
      for (size_t i = 0; i < length; ++i) {
        for (size_t c = 0; c < width; ++c) {
          ASSERT_NEAR(out.data[i * stride + c], expected[i * width + c],
                      tolerance)
              << "row " << i << " column " << c;
        }
        for (size_t c = width; c < stride; ++c) {
          ASSERT_EQ(out.data[i * stride + c], 0.0F) << "wrote past the head";
        }
      }
    }
  }
};

TEST_P(AttentionShapes, AgreesWithDoubleOnEveryInstructionSet) {
  ExpectCloseToDouble(AttentionPrecision::kFp32, 2.0F, 1e-5);
}

// Scores beyond what 2^x takes without the row's maximum: in some rows of a
// block or in all of them.
TEST_P(AttentionShapes, AgreesWithDoubleForLargeScores) {
  ExpectCloseToDouble(AttentionPrecision::kFp32, 7.0F, 1e-4);
  ExpectCloseToDouble(AttentionPrecision::kFp32, 30.0F, 2e-3);
}

TEST_P(AttentionShapes, Bf16IsAsCloseAsItsEightBits) {
  ExpectCloseToDouble(AttentionPrecision::kBf16, 1.0F, 0.03);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionShapes,
                         testing::Values(Shape{1, 1}, Shape{1, 32}, Shape{2, 5},
                                         Shape{7, 32}, Shape{17, 20},
                                         Shape{64, 64}, Shape{65, 33},
                                         Shape{128, 32}, Shape{257, 130},
                                         Shape{513, 32}),
                         [](const auto& info) {
                           return std::to_string(info.param.length) + "x" +
                                  std::to_string(info.param.width);
                         });

TEST(Attention, NaNAndInfinityStayInTheirSequence) {
  for (const AttentionPrecision precision :
       {AttentionPrecision::kFp32, AttentionPrecision::kBf16}) {
    TestMatrix q = Normal(20, 8, 1);
    TestMatrix k = Normal(20, 8, 2);
    TestMatrix v = Normal(20, 8, 3);
    q.data[2 * 8] = std::nanf("");
    q.data[3 * 8] = INFINITY;
    TestMatrix out(20, 8);
    Attention(q.view(), k.view(), v.view(), 2, {10, 10}, precision, out.view(),
              nullptr);
    for (size_t row = 0; row < 20; ++row) {
      EXPECT_EQ(std::isnan(out.view().row(row)[0]), row == 2 || row == 3);
    }
  }
}

TEST(Attention, HugeScoresStayFinite) {
  const size_t length = 40;
  TestMatrix q = Normal(length, 8, 1, 1e4F);
  TestMatrix k = Normal(length, 8, 2, 1e4F);
  TestMatrix v = Normal(length, 8, 3);
  TestMatrix out(length, 8);
  Attention(q.view(), k.view(), v.view(), 2, {40}, AttentionPrecision::kFp32,
            out.view(), nullptr);
  for (const float value : out.data) EXPECT_TRUE(std::isfinite(value));
}

TEST(Attention, EqualScoresGiveTheMean) {
  TestMatrix q(3, 2), k(3, 2), v(3, 2), out(3, 2);
  v.data = {1.0F, 10.0F, 2.0F, 20.0F, 6.0F, 60.0F};
  Attention(q.view(), k.view(), v.view(), 1, {3}, AttentionPrecision::kFp32,
            out.view(), nullptr);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_FLOAT_EQ(out.data[2 * i], 3.0F);
    EXPECT_FLOAT_EQ(out.data[2 * i + 1], 30.0F);
  }
}

TEST(Attention, ASequenceDoesNotSeeItsNeighboursNorTheThreads) {
  const std::vector<int32_t> lengths = {5, 1, 333, 120};
  const size_t width = 24;
  const TestMatrix q = Normal(459, width, 1);
  const TestMatrix k = Normal(459, width, 2);
  const TestMatrix v = Normal(459, width, 3);
  ThreadPool pool(3);
  for (const AttentionPrecision precision :
       {AttentionPrecision::kFp32, AttentionPrecision::kBf16}) {
    TestMatrix together(459, width);
    Attention(q.view(), k.view(), v.view(), 3, lengths, precision,
              together.view(), &pool);
    size_t start = 0;
    for (const int32_t length : lengths) {
      const auto rows = static_cast<size_t>(length);
      TestMatrix alone(rows, width);
      Attention(q.view().Rows(start, rows), k.view().Rows(start, rows),
                v.view().Rows(start, rows), 3, {length}, precision,
                alone.view(), nullptr);
      EXPECT_EQ(BitsOf(together.view().row(start), rows * width),
                BitsOf(alone.data.data(), rows * width));
      start += rows;
    }
  }
}

}  // namespace
}  // namespace octet::kernels
