// Random matrices, and the instruction sets the tests run on.

#ifndef OCTET_TESTS_KERNELS_FLOAT_TEST_DATA_H_
#define OCTET_TESTS_KERNELS_FLOAT_TEST_DATA_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/cpu_features.h"
#include "kernels/float_companions.h"
#include "kernels/matrix_view.h"

namespace octet::kernels {

struct TestMatrix {
  TestMatrix(size_t rows, size_t cols)
      : data(rows * cols), rows(rows), cols(cols) {}

  MatrixView<float> view() { return {data.data(), rows, cols}; }
  MatrixView<const float> view() const { return {data.data(), rows, cols}; }

  std::vector<float> data;
  size_t rows;
  size_t cols;
};

inline TestMatrix Normal(size_t rows, size_t cols, uint32_t seed,
                         float deviation = 1.0F) {
  TestMatrix matrix(rows, cols);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  for (float& value : matrix.data) value = normal(random);
  return matrix;
}

inline std::vector<uint32_t> BitsOf(const float* values, size_t count) {
  std::vector<uint32_t> bits;
  for (size_t i = 0; i < count; ++i) {
    bits.push_back(std::bit_cast<uint32_t>(values[i]));
  }
  return bits;
}

inline std::vector<const FloatCompanions*> CompanionsOfThisBuild() {
#if defined(__x86_64__)
  return {&kFloatCompanionsGeneric, &kFloatCompanionsAvx2,
          &kFloatCompanionsAvx512, &kFloatCompanionsAvx512Bf16};
#elif defined(__aarch64__)
  return {&kFloatCompanionsGeneric, &kFloatCompanionsNeon};
#else
  return {&kFloatCompanionsGeneric};
#endif
}

inline std::vector<const FloatCompanions*> CompanionsThisCpuRuns() {
  std::vector<const FloatCompanions*> all = {&kFloatCompanionsGeneric};
#if defined(__x86_64__)
  const CpuFeatures features = DetectCpuFeatures();
  if (features.avx2 && features.fma && features.f16c) {
    all.push_back(&kFloatCompanionsAvx2);
  }
  if (features.avx512f && features.avx512bw && features.avx512dq &&
      features.avx512vl) {
    all.push_back(&kFloatCompanionsAvx512);
    if (features.avx512bf16) all.push_back(&kFloatCompanionsAvx512Bf16);
  }
#elif defined(__aarch64__)
  all.push_back(&kFloatCompanionsNeon);
#endif
  return all;
}

}  // namespace octet::kernels

#endif  // OCTET_TESTS_KERNELS_FLOAT_TEST_DATA_H_
