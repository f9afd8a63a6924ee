#include "server/quantization/methods/smoothing.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/quantization/calibration/layer_samples.h"
#include "server/quantization/methods/input_transform.h"
#include "server/quantization/methods/layer_quantizer.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;
using model::Scheme;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::SizeIs;

TEST(SmoothingFactors, AreThePapersFormulaOverAllLayersThatShareTheInput) {
  const std::vector<float> x = {4.0F, 9.0F, 0.0F, 1.0F};
  const std::vector<float> q = {1.0F, -4.0F, 1.0F, 0.0F};
  const std::vector<float> k = {-0.25F, 1.0F, 1.0F, 0.0F,
                                16.0F,  0.5F, 1.0F, 0.0F};
  const std::vector<MatrixView<const float>> weights = {{q.data(), 1, 4},
                                                        {k.data(), 2, 4}};
  const SharedWeights shared(weights);
  // max|W| = 16, 4, 1, 0; unused columns keep 1.
  EXPECT_THAT(SmoothingFactors(x, shared.column_absmax(), 0.5F),
              ElementsAre(2.0F / 4, 3.0F / 2, 1.0F, 1.0F));
  EXPECT_THAT(SmoothingFactors(x, shared.column_absmax(), 1.0F),
              ElementsAre(4.0F, 9.0F, 1.0F, 1.0F));
  EXPECT_THAT(SmoothingFactors(x, shared.column_absmax(), 0.0F),
              ElementsAre(1.0F / 16, 1.0F / 4, 1.0F, 1.0F));
}

TEST(SmoothingFactors, StayWhereTheirInversesAreNormal) {
  const std::vector<float> x = {3e38F, 1e-38F};
  const std::vector<float> w = {1e-38F, 3e38F};
  const std::vector<MatrixView<const float>> weights = {{w.data(), 1, 2}};
  const SharedWeights shared(weights);
  EXPECT_THAT(SmoothingFactors(x, shared.column_absmax(), 0.5F),
              ElementsAre(1048576.0F, 1.0F / 1048576.0F));
}

// Inputs with some columns far larger than the others.
struct Skewed {
  static constexpr size_t kRows = 64;
  static constexpr size_t kColumns = 48;
  std::vector<float> x = RandomValues(kRows * kColumns, 31);
  std::vector<float> w = RandomValues(20 * kColumns, 32, 0.1F);
  std::vector<float> column_absmax = std::vector<float>(kColumns, 0.0F);

  Skewed() {
    for (size_t i = 0; i < kRows; ++i) {
      for (size_t k = 0; k < kColumns; ++k) {
        float& value = x[i * kColumns + k];
        if (k % 16 == 3) value *= 40.0F;
        column_absmax[k] = std::max(column_absmax[k], std::fabs(value));
      }
    }
  }
  MatrixView<const float> rows() const { return {x.data(), kRows, kColumns}; }
  SharedWeights shared() const { return SharedWeights(weights()); }
  std::vector<MatrixView<const float>> weights() const {
    return {{w.data(), 12, kColumns}, {w.data() + 12 * kColumns, 8, kColumns}};
  }
};

// The error of one trial, computed from the codes alone.
double NaiveError(const Skewed& data, LayerPlan plan) {
  double mean = 0.0;
  for (const MatrixView<const float>& weight : data.weights()) {
    const auto layer = QuantizeLayer("w", weight, {}, plan, {}, nullptr);
    EXPECT_THAT(layer, IsOk());
    const std::vector<float> v = TransformedInputs(plan, data.rows());
    double error = 0.0;
    double power = 0.0;
    for (size_t i = 0; i < Skewed::kRows; ++i) {
      const float* row = v.data() + i * Skewed::kColumns;
      double scale = plan.input.scale;
      double low = -plan.input.zero_point;
      double high = 255.0 - plan.input.zero_point;
      if (plan.scheme.scheme == Scheme::kW8A8Dynamic) {
        scale = 0.0;
        for (size_t k = 0; k < Skewed::kColumns; ++k) {
          scale = std::max(scale, std::fabs(row[k]) / 127.0);
        }
        low = -127.0;
        high = 127.0;
      }
      for (size_t n = 0; n < weight.rows; ++n) {
        double y = 0.0;
        double y_int8 = 0.0;
        for (size_t k = 0; k < Skewed::kColumns; ++k) {
          y += static_cast<double>(weight.row(n)[k]) * data.rows().row(i)[k];
          y_int8 += std::nearbyint(std::clamp(row[k] / scale, low, high)) *
                    scale * layer->codes[n * Skewed::kColumns + k] *
                    layer->scales[n];
        }
        error += (y - y_int8) * (y - y_int8);
        power += y * y;
      }
    }
    mean += error / power / 2;
  }
  return mean;
}

TEST(SearchSmoothing, TakesTheAlphaOfTheLeastTrueOutputError) {
  const Skewed data;
  for (const Scheme scheme : {Scheme::kW8A8Dynamic, Scheme::kW8A8Static}) {
    SCOPED_TRACE(std::string(model::Name(scheme)));
    LayerPlan plan;
    plan.scheme.scheme = scheme;
    const auto choice = SearchSmoothing(data.column_absmax, data.shared(), plan,
                                        data.rows(), nullptr);
    ASSERT_THAT(choice, IsOk());
    bool is_one_of_them = false;
    for (size_t i = 0; i <= 20; ++i) {
      const float alpha = static_cast<float>(i) / 20;
      LayerPlan naive = plan;
      naive.scheme.smoothed = true;
      naive.smoothing = SmoothingFactors(data.column_absmax,
                                         data.shared().column_absmax(), alpha);
      const std::vector<float> v = TransformedInputs(naive, data.rows());
      naive.input = AffineFromRange(*std::min_element(v.begin(), v.end()),
                                    *std::max_element(v.begin(), v.end()));
      const double error = NaiveError(data, naive);
      // Products in FP32 round otherwise.
      EXPECT_GT(error, 0.98 * choice->error) << alpha;
      if (alpha != choice->alpha) continue;
      is_one_of_them = true;
      EXPECT_EQ(choice->factors, naive.smoothing);
      EXPECT_NEAR(error, choice->error, 0.02 * choice->error);
    }
    EXPECT_TRUE(is_one_of_them);
    // Far better than none, which these inputs need.
    EXPECT_LT(choice->error,
              0.2 * NaiveError(data, [&] {
                LayerPlan none = plan;
                none.input = AffineFromRange(
                    *std::min_element(data.x.begin(), data.x.end()),
                    *std::max_element(data.x.begin(), data.x.end()));
                return none;
              }()));
  }
}

TEST(SearchSmoothing, GoesWithRotationGroupsAndOutliers) {
  const Skewed data;
  LayerPlan plan;
  plan.scheme = {Scheme::kLlmInt8, 6.0F, 32, 16};
  plan.outlier_columns = {3, 19};
  const auto choice = SearchSmoothing(data.column_absmax, data.shared(), plan,
                                      data.rows(), nullptr);
  ASSERT_THAT(choice, IsOk());
  EXPECT_THAT(choice->factors, SizeIs(Skewed::kColumns));
  EXPECT_LT(choice->error, 1e-3);
}

TEST(SearchSmoothing, WithoutRowsThereIsNothingToSearchOn) {
  const Skewed data;
  LayerPlan plan;
  plan.scheme.scheme = Scheme::kW8A8Dynamic;
  EXPECT_THAT(
      SearchSmoothing(data.column_absmax, data.shared(), plan, {}, nullptr),
      FailsWith(absl::StatusCode::kFailedPrecondition,
                "calibrate, or give alpha"));
}

// What is in memory of a weight is bounded; what the formula needs is not.
TEST(SharedWeights, ColumnsAreOfAllRowsThoughFewAreKept) {
  constexpr size_t kRows = 50;
  constexpr size_t kColumns = 6;
  const std::vector<float> w = RandomValues(kRows * kColumns, 33);
  TemporaryDirectory directory;
  WriteCheckpoint(directory.path(), {{"a.weight", {kRows, kColumns}, w}}, "");
  const OpenedModel opened = OpenFloat(directory.path());
  const InputGroup linears = {opened.model->graph().Linears().front()};
  const std::vector<MatrixView<const float>> all = {
      {w.data(), kRows, kColumns}};
  const SharedWeights whole(all);
  const auto expected = whole.column_absmax();
  for (const size_t max_rows : {0, 1, 7, 49, 50, 51}) {
    SCOPED_TRACE(max_rows);
    const auto shared =
        SharedWeights::Load(linears, *opened.files.tensors, nullptr, max_rows);
    ASSERT_THAT(shared, IsOk());
    EXPECT_THAT(shared->column_absmax(), ElementsAreArray(expected));
    ASSERT_THAT(shared->rows(), SizeIs(1));
    const MatrixView<const float>& rows = shared->rows().front();
    ASSERT_EQ(rows.rows, max_rows == 0 ? kRows : std::min(max_rows, kRows));
    for (size_t i = 0; i < rows.rows; ++i) {
      const size_t from = ((i + 1) * kRows + rows.rows - 1) / rows.rows - 1;
      EXPECT_TRUE(std::equal(rows.row(i), rows.row(i) + kColumns,
                             w.data() + from * kColumns))
          << i;
    }
  }
}

}  // namespace
}  // namespace octet::quantization
