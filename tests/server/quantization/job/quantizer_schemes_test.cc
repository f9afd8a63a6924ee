// What a bundle of each scheme computes, beside the table of numerics.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/rounding.h"
#include "server/quantization/job/quantizer.h"
#include "tests/server/quantization/quantize_mlp.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using model::Scheme;

// One row of one linear in double, from what the bundle holds, by the table
// of numerics: the one place where the test says what a scheme means.
class Reference {
 public:
  Reference(const model::TensorSource& tensors, std::string layer,
            model::LinearScheme scheme)
      : tensors_(tensors), layer_(std::move(layer)), scheme_(scheme) {}

  std::vector<double> Row(const std::vector<float>& x) const {
    std::vector<double> y = Float(".bias");
    const size_t k_count = x.size();
    if (!model::IsInt8(scheme_.scheme)) {
      const std::vector<double> w = Float(".weight");
      for (size_t n = 0; n < y.size(); ++n) {
        for (size_t k = 0; k < k_count; ++k) y[n] += x[k] * w[n * k_count + k];
      }
      return y;
    }
    const auto codes = Values<int8_t>(tensors_, layer_ + ".weight");
    const std::vector<double> scales = Float(".weight_scale");
    const std::vector<bool> is_out = Outliers(x);
    double x_scale = 0.0;
    const std::vector<int32_t> x_codes = Codes(x, is_out, &x_scale);
    for (size_t n = 0; n < y.size(); ++n) {
      int64_t sum = 0;
      for (size_t k = 0; k < k_count; ++k) {
        sum += x_codes[k] * codes[n * k_count + k];
        if (is_out[k]) {
          y[n] += x[k] * OutlierWeight(n, k, y.size(), codes, scales, k_count);
        }
      }
      y[n] += scales[n] * x_scale * sum;
    }
    return y;
  }

 private:
  std::vector<double> Float(const char* part) const {
    return Floats(tensors_, layer_ + part);
  }

  std::vector<bool> Outliers(const std::vector<float>& x) const {
    std::vector<bool> is_out(x.size(), false);
    if (scheme_.scheme != Scheme::kLlmInt8) return is_out;
    for (const int32_t k :
         Values<int32_t>(tensors_, layer_ + ".outlier_columns")) {
      is_out[k] = true;
    }
    for (size_t k = 0; k < x.size(); ++k) {
      if (std::fabs(x[k]) >= scheme_.outlier_threshold) is_out[k] = true;
    }
    return is_out;
  }

  // With the zero point taken off.
  std::vector<int32_t> Codes(const std::vector<float>& x,
                             const std::vector<bool>& is_out,
                             double* scale) const {
    std::vector<int32_t> codes(x.size(), 0);
    if (scheme_.scheme == Scheme::kW8A8Static) {
      const auto s = static_cast<float>(Float(".input_scale")[0]);
      const int32_t zero_point =
          Values<int8_t>(tensors_, layer_ + ".input_zero_point")[0] + 128;
      for (size_t k = 0; k < x.size(); ++k) {
        codes[k] =
            kernels::AffineCode(x[k], kernels::InverseScale(s), zero_point) -
            zero_point;
      }
      *scale = s;
      return codes;
    }
    float absmax = 0.0F;
    for (size_t k = 0; k < x.size(); ++k) {
      if (!is_out[k]) absmax = std::max(absmax, std::fabs(x[k]));
    }
    const float s = kernels::AbsmaxToScale(absmax);
    for (size_t k = 0; k < x.size(); ++k) {
      if (!is_out[k]) {
        codes[k] = kernels::SymmetricCode(x[k], kernels::InverseScale(s));
      }
    }
    *scale = s;
    return codes;
  }

  // FP16 where calibration knew the column, dequantized where it is live.
  double OutlierWeight(size_t n, size_t k, size_t outputs,
                       const std::vector<int8_t>& codes,
                       const std::vector<double>& scales,
                       size_t k_count) const {
    const auto columns = Values<int32_t>(tensors_, layer_ + ".outlier_columns");
    const auto found = std::find(columns.begin(), columns.end(), k);
    if (found == columns.end()) return scales[n] * codes[n * k_count + k];
    return Float(".outlier_weight")[(found - columns.begin()) * outputs + n];
  }

  const model::TensorSource& tensors_;
  std::string layer_;
  model::LinearScheme scheme_;
};

class QuantizeMlpTo : public QuantizeMlp,
                      public ::testing::WithParamInterface<Scheme> {};

INSTANTIATE_TEST_SUITE_P(EveryScheme, QuantizeMlpTo,
                         ::testing::Values(Scheme::kFp32, Scheme::kBf16,
                                           Scheme::kFp16, Scheme::kW8A8Dynamic,
                                           Scheme::kW8A8Static,
                                           Scheme::kLlmInt8),
                         [](const auto& info) {
                           return std::string(model::Name(info.param));
                         });

TEST_P(QuantizeMlpTo, LinearsComputeWhatTheTableSays) {
  QuantizeJob job = Job();
  job.request.scheme = GetParam();
  ASSERT_THAT(Quantize(job), IsOk());
  const auto bundle =
      bundle::OpenBundle(output_.path(), bundle::Verify::kDigests);
  ASSERT_THAT(bundle, IsOk());
  const auto model = bundle::LoadModel(*bundle);
  ASSERT_THAT(model, IsOk());
  for (const model::Linear* linear : (*model)->graph().Linears()) {
    const size_t k = linear->in_features;
    std::vector<float> x = RandomValues(5 * k, 55);
    x[3] = 31.0F;         // a column that calibration has seen
    x[2 * k + 7] = 9.0F;  // one that it has not
    std::fill_n(x.begin() + 4 * k, k, 0.0F);
    std::vector<float> y(5 * linear->out_features);
    const auto layer = (*model)->FindLinear(linear->layer);
    ASSERT_THAT(layer, IsOk());
    ASSERT_THAT((*layer)->Run({x.data(), 5, k},
                              {y.data(), 5, linear->out_features}, {}),
                IsOk());
    const Reference reference(*bundle->files.tensors, linear->layer,
                              bundle->manifest.plan.at(linear->layer));
    for (size_t r = 0; r < 5; ++r) {
      const std::vector<double> expected =
          reference.Row({x.begin() + r * k, x.begin() + (r + 1) * k});
      for (size_t n = 0; n < expected.size(); ++n) {
        // FP16 activations of outliers are good to 2^-11.
        const double tolerance = GetParam() == Scheme::kLlmInt8 ? 1e-3 : 1e-5;
        EXPECT_NEAR(y[r * linear->out_features + n], expected[n],
                    tolerance * (1.0 + 30.0 * std::fabs(expected[n])))
            << linear->layer << " row " << r << " output " << n;
      }
    }
  }
}

TEST_P(QuantizeMlpTo, ForwardStaysCloseToFloat) {
  QuantizeJob job = Job();
  job.request.scheme = GetParam();
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  const bundle::QuantizationReport& report = manifest->report;
  EXPECT_EQ(report.model_rows, CalibrationOptions().samples);
  EXPECT_GT(report.mean_row_cosine, 0.99);
  EXPECT_LE(report.worst_row_cosine, report.mean_row_cosine + 1e-12);
  EXPECT_GT(report.model.sqnr_db, 20.0);
}

}  // namespace
}  // namespace octet::quantization
