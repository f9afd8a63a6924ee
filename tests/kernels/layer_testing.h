// An int8 linear with everything that can be switched on, and its inputs.

#ifndef OCTET_TESTS_KERNELS_LAYER_TESTING_H_
#define OCTET_TESTS_KERNELS_LAYER_TESTING_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/half.h"
#include "kernels/int8_linear.h"
#include "kernels/registry.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/kernel_testing.h"

namespace octet::kernels {

struct Layer {
  Layer(size_t m, size_t n, size_t k, uint32_t seed)
      : m(m),
        n(n),
        k(k),
        x(RandomFloats(m * k, seed)),
        codes(RandomIntegers<int8_t>(n * k, -127, 127, seed + 1)),
        scales(n),
        bias(RandomFloats(n, seed + 2)),
        residual(RandomFloats(m * n, seed + 3)) {
    for (size_t i = 0; i < n; ++i) {
      scales[i] = 0.001F * static_cast<float>(1 + i % 7);
    }
  }

  void SetStatic(float scale, int32_t zero_point) {
    coding = ActivationCoding::kStaticAffine;
    input_scale = scale;
    input_zero_point = zero_point;
  }

  void SetOutliers(std::vector<int32_t> list, float live) {
    columns = std::move(list);
    threshold = live;
    for (const float w : RandomFloats(columns.size() * n, 77)) {
      fp16.push_back(FloatToFp16(w));
    }
  }

  // A scale per group of `size` k.
  void SetGroups(size_t size) {
    group_size = size;
    scales.resize(n * groups());
    for (size_t i = 0; i < scales.size(); ++i) {
      scales[i] = 0.001F * static_cast<float>(1 + i % 11);
    }
  }

  size_t groups() const {
    return group_size == 0 ? 1 : (k + group_size - 1) / group_size;
  }

  Int8LinearSpec Spec() const {
    Int8LinearSpec spec;
    spec.codes = {codes.data(), n, k};
    spec.scales = scales;
    spec.group_size = group_size;
    spec.inverse_smoothing = inverse_smoothing;
    spec.hadamard_block = hadamard_block;
    spec.bias = bias;
    spec.coding = coding;
    spec.input_scale = input_scale;
    spec.input_zero_point = input_zero_point;
    spec.outlier_columns = columns;
    spec.outlier_weights = {fp16.data(), columns.size(), n};
    spec.outlier_threshold = threshold;
    return spec;
  }

  std::vector<float> Run(const Kernel& kernel, ThreadPool* pool = nullptr,
                         PhaseTimes* times = nullptr) const {
    const auto linear = Int8Linear::CreateWith(kernel, Spec());
    EXPECT_TRUE(linear.ok()) << linear.status();
    std::vector<float> y(m * n, -12345.0F);
    LinearCall call;
    call.activation = activation;
    call.pool = pool;
    call.times = times;
    if (with_residual) call.residual = {residual.data(), m, n};
    EXPECT_TRUE(linear->Run({x.data(), m, k}, {y.data(), m, n}, call).ok());
    return y;
  }

  size_t m, n, k;
  std::vector<float> x;
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<float> bias;
  std::vector<float> residual;
  size_t group_size = 0;
  std::vector<float> inverse_smoothing;
  size_t hadamard_block = 0;
  ActivationCoding coding = ActivationCoding::kPerToken;
  float input_scale = 1.0F;
  int32_t input_zero_point = 0;
  std::vector<int32_t> columns;
  std::vector<uint16_t> fp16;
  float threshold = 0.0F;
  Activation activation = Activation::kNone;
  bool with_residual = false;
};

}  // namespace octet::kernels

#endif  // OCTET_TESTS_KERNELS_LAYER_TESTING_H_
