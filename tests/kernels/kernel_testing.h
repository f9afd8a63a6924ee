// What the kernel tests share: the kernels this CPU runs, seeded data, memory
// that faults one byte past its end.

#ifndef OCTET_TESTS_KERNELS_KERNEL_TESTING_H_
#define OCTET_TESTS_KERNELS_KERNEL_TESTING_H_

#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cpu_features.h"
#include "kernels/matrix_view.h"
#include "kernels/registry.h"

namespace octet::kernels {

inline void PrintTo(const Kernel* kernel, std::ostream* out) {
  *out << kernel->name;
}

inline bool ThisCpuRuns(const Kernel& kernel) {
  return Runs(HostFeatures(), kernel.isa);
}

// Parameterized over every kernel of the build; those that need more than the
// CPU has are skipped by name.
class EveryKernel : public testing::TestWithParam<const Kernel*> {
 protected:
  void SetUp() override {
    if (ThisCpuRuns(kernel())) return;
    GTEST_SKIP() << "this CPU, or OCTET_MAX_ISA, has no "
                 << IsaName(kernel().isa) << ": " << kernel().name
                 << " is NOT TESTED";
  }
  const Kernel& kernel() const { return *GetParam(); }
};

inline std::vector<const Kernel*> AllKernels() {
  std::vector<const Kernel*> all;
  for (const Kernel& kernel : Kernels()) all.push_back(&kernel);
  return all;
}

inline std::string KernelName(
    const testing::TestParamInfo<const Kernel*>& info) {
  return std::string(info.param->name);
}

#define OCTET_INSTANTIATE_FOR_EVERY_KERNEL(suite)                           \
  INSTANTIATE_TEST_SUITE_P(Kernels, suite, testing::ValuesIn(AllKernels()), \
                           KernelName)

template <typename T>
std::vector<T> RandomIntegers(size_t count, int low, int high, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> uniform(low, high);
  std::vector<T> values(count);
  for (T& value : values) value = static_cast<T>(uniform(random));
  return values;
}

inline std::vector<float> RandomFloats(size_t count, uint32_t seed,
                                       float sigma = 1.0F) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, sigma);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Bit patterns, so that NaN equals NaN and -0 differs from +0.
inline std::vector<uint32_t> Bits(const float* values, size_t count) {
  std::vector<uint32_t> bits(count);
  for (size_t i = 0; i < count; ++i) {
    bits[i] = std::bit_cast<uint32_t>(values[i]);
  }
  return bits;
}

inline std::vector<uint32_t> Bits(const std::vector<float>& values) {
  return Bits(values.data(), values.size());
}

// `bytes` of memory between two pages that must not be touched: flush with the
// page behind it, or with the one in front.
class GuardedMemory {
 public:
  enum class Side : uint8_t { kFront, kBack };

  GuardedMemory(size_t bytes, Side side) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t inside = (bytes + page - 1) / page * page;
    mapped_ = inside + 2 * page;
    void* base =
        mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) std::abort();
    base_ = static_cast<uint8_t*>(base);
    // Emulated kernels refuse to protect nothing.
    if (inside > 0 &&
        mprotect(base_ + page, inside, PROT_READ | PROT_WRITE) != 0) {
      std::abort();
    }
    data_ = base_ + page + (side == Side::kBack ? inside - bytes : 0);
  }
  ~GuardedMemory() { munmap(base_, mapped_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  template <typename T>
  T* As() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  uint8_t* base_;
  size_t mapped_;
  uint8_t* data_;
};

}  // namespace octet::kernels

#endif  // OCTET_TESTS_KERNELS_KERNEL_TESTING_H_
