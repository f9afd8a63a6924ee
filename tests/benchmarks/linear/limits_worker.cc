// The machine's limits as one more contestant: `int8_peak` and `fma_peak` are
// what one core multiplies at most, `read` passes over as many bytes as the
// INT8 weights of a layer have (M K N COPIES, like the others).

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "tests/benchmarks/harness/worker.h"
#include "tests/benchmarks/linear/limits.h"

namespace octet::benchmarks {
namespace {

constexpr size_t kSteps = 1000;

Limits HostLimits() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512vnni")) return LimitsAvx512();
  if (__builtin_cpu_supports("avxvnni")) return LimitsAvxVnni();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return LimitsAvx2();
  }
#endif
  throw std::runtime_error("no loop for this CPU");
}

class Peak : public Job {
 public:
  Peak(void (*steps)(size_t), double operations)
      : steps_(steps), operations_(operations) {
    if (steps == nullptr) throw std::runtime_error("not on this CPU");
  }
  void Run() override { steps_(kSteps); }
  double Work() const override { return operations_ * kSteps; }

 private:
  void (*steps_)(size_t);
  double operations_;
};

class Read : public Job {
 public:
  explicit Read(const LinearShape& shape)
      : bytes_(std::max<size_t>(shape.k * shape.n / 512, 1) * 512) {
    for (size_t i = 0; i < shape.copies; ++i) copies_.emplace_back(bytes_);
  }
  void Run() override {
    limits_.read(copies_[next_++ % copies_.size()].As<char>(), bytes_);
  }
  size_t WarmUp() const override { return copies_.size(); }
  double Work() const override { return static_cast<double>(bytes_); }

 private:
  Limits limits_ = HostLimits();
  size_t bytes_;
  std::vector<kernels::AlignedBuffer> copies_;
  size_t next_ = 0;
};

}  // namespace
}  // namespace octet::benchmarks

int main() {
  namespace benchmarks = octet::benchmarks;
  const auto peak = [](bool is_float) {
    return [is_float](const std::vector<size_t>&) {
      const benchmarks::Limits limits = benchmarks::HostLimits();
      return is_float ? std::make_unique<benchmarks::Peak>(
                            limits.fma_peak, limits.fma_operations)
                      : std::make_unique<benchmarks::Peak>(
                            limits.int8_peak, limits.int8_operations);
    };
  };
  const auto read = [](const std::vector<size_t>& numbers) {
    return std::make_unique<benchmarks::Read>(benchmarks::LinearShape(numbers));
  };
  std::string name = "none";
  try {
    name = benchmarks::HostLimits().name;
  } catch (const std::runtime_error&) {
    // The variants say so again, each to whoever asks for it.
  }
  benchmarks::Serve(
      name,
      {{"int8_peak", peak(false)}, {"fma_peak", peak(true)}, {"read", read}});
  return 0;
}
