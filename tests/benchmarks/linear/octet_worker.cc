// Octet's linear layers, FP32 in and out, bias included; `int8` quantizes its
// rows per token within the call. Usage: octet_linear_worker [THREADS]

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/aligned_vector.h"
#include "kernels/cpu_features.h"
#include "kernels/float_linear.h"
#include "kernels/int8_linear.h"
#include "kernels/registry.h"
#include "kernels/thread_pool.h"
#include "tests/benchmarks/harness/worker.h"

namespace octet::benchmarks {
namespace {

template <typename Linear>
class LinearJob : public Job {
 public:
  LinearJob(const LinearShape& shape, kernels::ThreadPool* pool)
      : shape_(shape), x_(shape.m * shape.k), y_(shape.m * shape.n) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (float& value : x_) value = normal(random);
    call_.pool = pool->threads() > 1 ? pool : nullptr;
  }

  void Add(absl::StatusOr<Linear> linear) {
    if (!linear.ok()) {
      throw std::runtime_error(std::string(linear.status().message()));
    }
    copies_.push_back(*std::move(linear));
  }

  void Run() override { RunCopy(call_); }

  size_t WarmUp() const override { return copies_.size(); }
  double Work() const override { return shape_.Operations(); }
  std::string Name() const override {
    return std::string(copies_[0].kernel_name());
  }

  // The shares of the phases; for FP32 there are none.
  std::map<std::string, double> Report() override {
    constexpr int kCalls = 200;
    kernels::PhaseTimes times;
    kernels::LinearCall call = call_;
    call.times = &times;
    for (int i = 0; i < kCalls; ++i) RunCopy(call);
    const auto total = static_cast<double>(times.quantize_ns + times.dot_ns +
                                           times.dequantize_ns);
    return {{"quantize", times.quantize_ns / total},
            {"dot", times.dot_ns / total},
            {"dequantize", times.dequantize_ns / total}};
  }

 private:
  void RunCopy(const kernels::LinearCall& call) {
    const absl::Status status = copies_[next_++ % copies_.size()].Run(
        {x_.data(), shape_.m, shape_.k}, {y_.data(), shape_.m, shape_.n}, call);
    if (!status.ok()) throw std::runtime_error(std::string(status.message()));
  }

  LinearShape shape_;
  // As oneDNN allocates its own, and the server what it reads and answers.
  kernels::AlignedVector<float> x_;
  kernels::AlignedVector<float> y_;
  std::vector<Linear> copies_;
  size_t next_ = 0;
  kernels::LinearCall call_;
};

std::unique_ptr<Job> Int8(const LinearShape& shape, kernels::ThreadPool* pool) {
  std::mt19937 random(2);
  std::vector<int8_t> codes(shape.n * shape.k);
  for (int8_t& code : codes) {
    code = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
  }
  const std::vector<float> scales(shape.n, 0.01F);
  const std::vector<float> bias(shape.n, 0.5F);
  kernels::Int8LinearSpec spec;
  spec.codes = {codes.data(), shape.n, shape.k};
  spec.scales = scales;
  spec.bias = bias;
  auto job = std::make_unique<LinearJob<kernels::Int8Linear>>(shape, pool);
  for (size_t i = 0; i < shape.copies; ++i) {
    job->Add(kernels::Int8Linear::Create(spec));
  }
  return job;
}

std::unique_ptr<Job> Fp32(const LinearShape& shape, kernels::ThreadPool* pool) {
  const std::vector<float> weights(shape.n * shape.k, 0.25F);
  const std::vector<float> bias(shape.n, 0.5F);
  auto job = std::make_unique<LinearJob<kernels::FloatLinear>>(shape, pool);
  for (size_t i = 0; i < shape.copies; ++i) {
    job->Add(
        kernels::FloatLinear::Create({weights.data(), shape.n, shape.k}, bias));
  }
  return job;
}

}  // namespace
}  // namespace octet::benchmarks

int main(int argc, char** argv) {
  using octet::benchmarks::LinearShape;
  octet::kernels::ThreadPool pool(argc > 1 ? std::stoul(argv[1]) : 1);
  const auto& kernel =
      octet::kernels::SelectKernel(octet::kernels::HostFeatures());
  octet::benchmarks::Serve(
      "Octet, " + std::string(kernel.name),
      {{"int8",
        [&](const auto& numbers) {
          return octet::benchmarks::Int8(LinearShape(numbers), &pool);
        }},
       {"fp32", [&](const auto& numbers) {
          return octet::benchmarks::Fp32(LinearShape(numbers), &pool);
        }}});
  return 0;
}
