// oneDNN's matmul primitives with weights in the layout it asks for. `int8` is
// u8 x s8 -> s32, the multiplication alone: no quantization, no scales, no
// conversion. Built once for every oneDNN there is, 2.6 and 3.x.
// Usage: WORKER [THREADS]
//
// A oneDNN whose CPU runtime is SYCL (the one in PyPI's `onednn`) hands every
// call to another thread. `overhead` measures that with a matrix of nothing, so
// that whoever compares can take it off.

#include <cstdint>
#include <cstring>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/benchmarks/harness/worker.h"

#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
#include <omp.h>
#endif

namespace octet::benchmarks {
namespace {

using DataType = dnnl::memory::data_type;
using Tag = dnnl::memory::format_tag;

#if DNNL_CPU_RUNTIME == DNNL_RUNTIME_SYCL
constexpr const char* kRuntime = ", SYCL";
#else
constexpr const char* kRuntime = "";
#endif

class Matmul : public Job {
 public:
  Matmul(const LinearShape& shape, bool is_float)
      : shape_(shape), engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    const auto m = static_cast<int64_t>(shape.m);
    const auto k = static_cast<int64_t>(shape.k);
    const auto n = static_cast<int64_t>(shape.n);
    const DataType f32 = DataType::f32;
    const dnnl::memory::desc a({m, k}, is_float ? f32 : DataType::u8, Tag::ab);
    const dnnl::memory::desc b({k, n}, is_float ? f32 : DataType::s8, Tag::any);
    const dnnl::memory::desc c({m, n}, is_float ? f32 : DataType::s32, Tag::ab);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc description(engine_, a, b, c);
#else
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, c),
                                                   engine_);
#endif
    name_ = description.impl_info_str();
    matmul_ = dnnl::matmul(description);
    const dnnl::memory source = Filled(a, is_float);
    const dnnl::memory destination(c, engine_);
    for (size_t i = 0; i < shape.copies; ++i) {
      copies_.push_back(
          {{DNNL_ARG_SRC, source},
           {DNNL_ARG_WEIGHTS, Filled(description.weights_desc(), is_float)},
           {DNNL_ARG_DST, destination}});
    }
  }

  void Run() override {
    matmul_.execute(stream_, copies_[next_++ % copies_.size()]);
    stream_.wait();
  }

  size_t WarmUp() const override { return copies_.size(); }
  double Work() const override { return shape_.Operations(); }
  std::string Name() const override { return name_; }

 private:
  // Bytes of 1 as integers; of 0x3f as floats, which are then near 0.75.
  dnnl::memory Filled(const dnnl::memory::desc& description, bool is_float) {
    dnnl::memory memory(description, engine_);
    std::memset(memory.get_data_handle(), is_float ? 0x3f : 1,
                description.get_size());
    return memory;
  }

  LinearShape shape_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul matmul_;
  std::string name_;
  std::vector<std::unordered_map<int, dnnl::memory>> copies_;
  size_t next_ = 0;
};

std::string About() {
  const dnnl_version_t* version = dnnl_version();
  return "oneDNN " + std::to_string(version->major) + "." +
         std::to_string(version->minor) + kRuntime;
}

Prepare Variant(bool is_float) {
  return [is_float](const std::vector<size_t>& numbers) {
    return std::make_unique<Matmul>(LinearShape(numbers), is_float);
  };
}

}  // namespace
}  // namespace octet::benchmarks

int main(int argc, char** argv) {
  namespace benchmarks = octet::benchmarks;
  const int threads = argc > 1 ? std::stoi(argv[1]) : 1;
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
  omp_set_num_threads(threads);
#else
  static_cast<void>(threads);  // as many as the process may use
#endif
  std::map<std::string, benchmarks::Prepare> variants = {
      {"int8", benchmarks::Variant(false)},
      {"fp32", benchmarks::Variant(true)}};
#if DNNL_CPU_RUNTIME == DNNL_RUNTIME_SYCL
  variants["overhead"] = [](const std::vector<size_t>&) {
    return benchmarks::Variant(false)({1, 16, 16, 1});
  };
#endif
  benchmarks::Serve(benchmarks::About(), variants);
  return 0;
}
