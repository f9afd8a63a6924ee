#include "tests/server/quantization/small_layer.h"

#include <utility>

#include "gtest/gtest.h"
#include "server/model/scheme.h"

namespace octet::quantization {

absl::StatusOr<QuantizedLayer> Quantized(const SmallLayer& layer,
                                         const LayerPlan& plan,
                                         kernels::ThreadPool* pool) {
  return QuantizeLayer("fc.weight", layer.view(), layer.bias, plan,
                       layer.samples(), pool);
}

std::vector<LayerPlan> Plans(size_t k) {
  std::vector<LayerPlan> plans;
  for (const model::Scheme scheme :
       {model::Scheme::kW8A8Dynamic, model::Scheme::kW8A8Static,
        model::Scheme::kLlmInt8}) {
    for (int methods = 0; methods < 32; ++methods) {
      LayerPlan plan;
      plan.scheme.scheme = scheme;
      if (methods & 1) {
        plan.scheme.smoothed = true;
        for (size_t j = 0; j < k; ++j) {
          plan.smoothing.push_back(0.5F + 0.37F * static_cast<float>(j % 7));
        }
      }
      if (methods & 2) plan.scheme.hadamard_block = 16;
      if (methods & 4) plan.scheme.group_size = 32;
      if (methods & 8) plan.rounding = Rounding::kGptq;
      plan.bias_correction = (methods & 16) != 0;
      plan.input = {.scale = 0.07F, .zero_point = 120};
      if (scheme == model::Scheme::kLlmInt8) {
        plan.scheme.outlier_threshold = 2.5F;
        if (k > 1) plan.outlier_columns = {static_cast<int32_t>(k / 2)};
      }
      plans.push_back(std::move(plan));
    }
  }
  return plans;
}

std::string Describe(const LayerPlan& plan, const SmallLayer& layer) {
  return (testing::Message()
          << "[" << layer.n << ", " << layer.k << "] "
          << model::Name(plan.scheme.scheme) << " smoothed "
          << plan.scheme.smoothed << " block " << plan.scheme.hadamard_block
          << " group " << plan.scheme.group_size << " gptq "
          << (plan.rounding == Rounding::kGptq) << " bias "
          << plan.bias_correction)
      .GetString();
}

}  // namespace octet::quantization
