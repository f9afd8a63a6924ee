// Products of rows that are fetched in pieces.

#include "server/serving/product.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/int8_linear.h"
#include "tests/server/serving/model_files.h"

namespace octet::serving {
namespace {

using ::testing::HasSubstr;

// y = x W^T in INT8, of any shape.
class Int8Layer final : public model::LinearLayer {
 public:
  Int8Layer(size_t outputs, size_t inputs)
      : codes_(outputs * inputs), scales_(outputs, 0.01F) {
    std::mt19937 random(3);
    std::uniform_int_distribution<int> code(-127, 127);
    for (int8_t& c : codes_) c = static_cast<int8_t>(code(random));
    kernels::Int8LinearSpec spec;
    spec.codes = {codes_.data(), outputs, inputs};
    spec.scales = scales_;
    linear_ = std::make_unique<kernels::Int8Linear>(
        *kernels::Int8Linear::Create(spec));
  }

  absl::Status Run(kernels::MatrixView<const float> x,
                   kernels::MatrixView<float> y,
                   const kernels::LinearCall& call) const override {
    ++runs_;
    return linear_->Run(x, y, call);
  }
  size_t weight_bytes() const override { return codes_.size(); }
  std::string_view kernel_name() const override { return ""; }
  std::string_view isa() const override { return ""; }

  int runs() const { return runs_; }

 private:
  std::vector<int8_t> codes_;
  std::vector<float> scales_;
  std::unique_ptr<kernels::Int8Linear> linear_;
  mutable std::atomic<int> runs_ = 0;
};

std::vector<float> Values(size_t count) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

struct Shape {
  size_t rows, inputs, outputs;
  bool in_pieces;
};

TEST(Product, IsTheSameBitsInPiecesAndWhole) {
  kernels::ThreadPool pool(3);
  for (const Shape& shape : {
           Shape{0, 64, 8, false}, Shape{1, 64, 8, false},
           Shape{5000, 1000, 40, true},    // the last piece is smaller
           Shape{900, 1000, 40, false},    // too few pieces to share
           Shape{2000, 300, 5000, false},  // each would read all the weights
       }) {
    SCOPED_TRACE(shape.rows);
    const Int8Layer layer(shape.outputs, shape.inputs);
    const std::vector<float> x = Values(shape.rows * shape.inputs);
    std::vector<float> whole(shape.rows * shape.outputs);
    ASSERT_TRUE(layer
                    .Run({x.data(), shape.rows, shape.inputs},
                         {whole.data(), shape.rows, shape.outputs}, {})
                    .ok());
    std::vector<std::atomic<int>> fetched(shape.rows);
    FetchedRows rows = Rows(x.data(), shape.rows, shape.inputs);
    rows.fetch = [&, copy = rows.fetch](size_t first, size_t count, float* to) {
      for (size_t row = first; row < first + count; ++row) ++fetched[row];
      return copy(first, count, to);
    };
    std::vector<float> y(whole.size(), -1.0F);
    MatMulTimes times;
    const int before = layer.runs();
    ASSERT_TRUE(Multiply(layer, rows, {.pool = &pool},
                         {y.data(), shape.rows, shape.outputs}, &times)
                    .ok());
    EXPECT_EQ(y, whole);
    for (const auto& count : fetched) EXPECT_EQ(count, 1);
    EXPECT_EQ(layer.runs() - before > 1, shape.in_pieces);
    if (!shape.in_pieces) continue;
    EXPECT_GT(times.compute, absl::ZeroDuration());
    EXPECT_GT(times.decode, absl::ZeroDuration());
  }
}

TEST(Product, SaysTheFirstValueThatIsNotFinite) {
  kernels::ThreadPool pool(2);
  const Int8Layer layer(8, 64);
  std::vector<float> x(20000 * 64, 1.0F);
  x[19000 * 64 + 3] = std::numeric_limits<float>::infinity();
  x[9000 * 64 + 7] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> y(20000 * 8);
  MatMulTimes times;
  MatMulOptions options{.pool = &pool};
  const FetchedRows rows = Rows(x.data(), 20000, 64);
  const absl::Status status =
      Multiply(layer, rows, options, {y.data(), 20000, 8}, &times);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("x[9000][7]: is NaN"));
  options.allow_non_finite = true;
  EXPECT_TRUE(
      Multiply(layer, rows, options, {y.data(), 20000, 8}, &times).ok());
}

TEST(Product, FailsAsAPieceDoes) {
  kernels::ThreadPool pool(2);
  const Int8Layer layer(8, 64);
  std::vector<float> y(20000 * 8);
  MatMulTimes times;
  FetchedRows rows{.rows = 20000, .cols = 64, .fetch = nullptr};
  const auto multiply = [&] {
    return Multiply(layer, rows, {.pool = &pool}, {y.data(), 20000, 8}, &times);
  };
  rows.fetch = [](size_t first, size_t count, float* to) {
    std::fill_n(to, count * 64, 1.0F);
    return first > 5000 ? absl::DataLossError("gone") : absl::OkStatus();
  };
  EXPECT_EQ(multiply(), absl::DataLossError("gone"));
  rows.fetch = [](size_t, size_t, float*) -> absl::Status {
    throw std::bad_alloc();
  };
  EXPECT_TRUE(absl::IsResourceExhausted(multiply()));
}

}  // namespace
}  // namespace octet::serving
