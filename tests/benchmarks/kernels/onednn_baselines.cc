#include "tests/benchmarks/kernels/onednn_baselines.h"

#include <omp.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <unordered_map>

#include "dnnl.hpp"

namespace octet::benchmarks {
namespace {

using DataType = dnnl::memory::data_type;
using Tag = dnnl::memory::format_tag;

class Matmul : public OneDnnMatmul {
 public:
  Matmul(size_t m, size_t k, size_t n, DataType source, DataType weights,
         DataType destination)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    const auto M = static_cast<int64_t>(m);
    const auto K = static_cast<int64_t>(k);
    const auto N = static_cast<int64_t>(n);
    const dnnl::memory::desc a({M, K}, source, Tag::ab);
    const dnnl::memory::desc any_b({K, N}, weights, Tag::any);
    const dnnl::memory::desc plain_b({K, N}, weights, Tag::ba);
    const dnnl::memory::desc c({M, N}, destination, Tag::ab);
    const dnnl::matmul::desc description(a, any_b, c);
    const dnnl::matmul::primitive_desc primitive(description, engine_);
    matmul_ = dnnl::matmul(primitive);
    dnnl::memory packed(primitive.weights_desc(), engine_);
    dnnl::memory plain = Ones(plain_b);
    dnnl::reorder(plain, packed).execute(stream_, plain, packed);
    stream_.wait();
    arguments_ = {{DNNL_ARG_SRC, Ones(a)},
                  {DNNL_ARG_WEIGHTS, packed},
                  {DNNL_ARG_DST, dnnl::memory(c, engine_)}};
  }

  void Run() override {
    matmul_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  dnnl::memory Ones(const dnnl::memory::desc& description) {
    dnnl::memory memory(description, engine_);
    // Bytes of 1: small numbers as integers, and normal ones as floats.
    std::memset(memory.get_data_handle(),
                description.data_type() == DataType::f32 ? 0x3f : 1,
                description.get_size());
    return memory;
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul matmul_;
  std::unordered_map<int, dnnl::memory> arguments_;
};

}  // namespace

std::unique_ptr<OneDnnMatmul> OneDnnMatmul::Float(size_t m, size_t k,
                                                  size_t n) {
  return std::make_unique<Matmul>(m, k, n, DataType::f32, DataType::f32,
                                  DataType::f32);
}

std::unique_ptr<OneDnnMatmul> OneDnnMatmul::Int8(size_t m, size_t k, size_t n) {
  return std::make_unique<Matmul>(m, k, n, DataType::u8, DataType::s8,
                                  DataType::s32);
}

void UseOneThread() { omp_set_num_threads(1); }

}  // namespace octet::benchmarks
