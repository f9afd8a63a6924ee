#include "kernels/onednn_gemm.h"

#include <omp.h>

#include <array>
#include <oneapi/dnnl/dnnl.hpp>
#include <string_view>
#include <utility>
#include <vector>

namespace octet::kernels {
namespace {

using dnnl::memory;
using Dims = memory::dims;

// M is cut into powers of two, so that a handful of primitives serves every M.
constexpr std::array<size_t, 7> kBlocks = {64, 32, 16, 8, 4, 2, 1};

class OneOmpThread {
 public:
  OneOmpThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneOmpThread() { omp_set_num_threads(before_); }
  OneOmpThread(const OneOmpThread&) = delete;
  OneOmpThread& operator=(const OneOmpThread&) = delete;

 private:
  int before_;
};

const dnnl::engine& Engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// A stream belongs to one thread.
dnnl::stream& Stream() {
  static thread_local dnnl::stream stream(Engine());
  return stream;
}

memory::desc Matrix(size_t rows, size_t cols, const Dims& strides) {
  return {{static_cast<memory::dim>(rows), static_cast<memory::dim>(cols)},
          memory::data_type::f32,
          strides};
}

memory::desc RowMajor(size_t rows, size_t cols) {
  return Matrix(rows, cols, {static_cast<memory::dim>(cols), 1});
}

dnnl::matmul::primitive_desc Describe(const memory::desc& x,
                                      const memory::desc& w,
                                      const memory::desc& y) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
#if DNNL_VERSION_MAJOR >= 3
  return {Engine(), x, w, y, attributes};
#else
  return {dnnl::matmul::desc(x, w, y), attributes, Engine()};
#endif
}

bool RowsAreIndependent(const dnnl::matmul::primitive_desc& description) {
  return std::string_view(description.impl_info_str()).starts_with("brg");
}

struct Block {
  dnnl::matmul primitive;
  memory::desc x;
  memory::desc y;
  memory::desc scratch;
};

std::byte* Scratch(size_t bytes) {
  static thread_local std::vector<std::byte> scratch;
  if (scratch.size() < bytes) scratch.resize(bytes);
  return scratch.data();
}

}  // namespace

class OneDnnGemm::Impl {
 public:
  // False when a description is not of the kind we accept. May throw
  // dnnl::error.
  bool Prepare(MatrixView<const float> w) {
    n_ = w.rows;
    k_ = w.cols;
    const auto k = static_cast<memory::dim>(w.cols);
    const auto n = static_cast<memory::dim>(w.rows);
    memory::desc packed({k, n}, memory::data_type::f32,
                        memory::format_tag::any);
    for (size_t i = 0; i < kBlocks.size(); ++i) {
      const memory::desc x = RowMajor(kBlocks[i], k_);
      const memory::desc y = RowMajor(kBlocks[i], n_);
      const auto description = Describe(x, packed, y);
      if (!RowsAreIndependent(description)) return false;
      // The first block chooses the layout; the others take it over.
      if (i == 0) packed = description.weights_desc();
      blocks_[i] = {dnnl::matmul(description), x, y,
                    description.scratchpad_desc()};
    }
    weights_ = memory(packed, Engine());
    // oneDNN wants [K, N]: the same numbers with the strides exchanged.
    memory rows(Matrix(k_, n_, {1, static_cast<memory::dim>(w.stride)}),
                Engine(), const_cast<float*>(w.data));
    dnnl::reorder(rows, weights_).execute(Stream(), rows, weights_);
    Stream().wait();
    packed_bytes_ = packed.get_size();
    return true;
  }

  // May throw dnnl::error.
  void Run(const float* x, size_t rows, float* y) const {
    for (const size_t& size : kBlocks) {
      const Block& block = blocks_[&size - kBlocks.data()];
      for (; rows >= size; rows -= size, x += size * k_, y += size * n_) {
        block.primitive.execute(
            Stream(),
            {{DNNL_ARG_SRC, memory(block.x, Engine(), const_cast<float*>(x))},
             {DNNL_ARG_WEIGHTS, weights_},
             {DNNL_ARG_DST, memory(block.y, Engine(), y)},
             {DNNL_ARG_SCRATCHPAD, memory(block.scratch, Engine(),
                                          Scratch(block.scratch.get_size()))}});
      }
    }
    Stream().wait();
  }

  size_t packed_bytes() const { return packed_bytes_; }

 private:
  size_t n_ = 0;
  size_t k_ = 0;
  size_t packed_bytes_ = 0;
  memory weights_;
  std::array<Block, kBlocks.size()> blocks_;
};

std::unique_ptr<OneDnnGemm> OneDnnGemm::Create(MatrixView<const float> w) {
  const OneOmpThread one_thread;
  auto impl = std::make_unique<Impl>();
  try {
    if (!impl->Prepare(w)) return nullptr;
  } catch (const dnnl::error&) {
    return nullptr;
  }
  return std::unique_ptr<OneDnnGemm>(new OneDnnGemm(std::move(impl)));
}

OneDnnGemm::OneDnnGemm(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OneDnnGemm::~OneDnnGemm() = default;

bool OneDnnGemm::Run(const float* x, size_t rows, float* y) const {
  const OneOmpThread one_thread;
  try {
    impl_->Run(x, rows, y);
  } catch (const dnnl::error&) {
    return false;
  }
  return true;
}

size_t OneDnnGemm::packed_bytes() const { return impl_->packed_bytes(); }

}  // namespace octet::kernels
