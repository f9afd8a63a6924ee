#include "kernels/onednn_gemm.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/cpu_features.h"
#include "kernels/matrix_view.h"

#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
#include <omp.h>
#endif

namespace octet::kernels {
namespace {

using dnnl::memory;
using Dims = memory::dims;

// M is cut into powers of two, so that a handful of primitives serves every M.
// The last of them also serves the rows that are left over.
#if DNNL_VERSION_MAJOR >= 3
constexpr std::array<size_t, 6> kBlocks = {64, 32, 16, 8, 4, 2};
#else
constexpr std::array<size_t, 7> kBlocks = {64, 32, 16, 8, 4, 2, 1};
#endif

class OneThread {
 public:
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }

 private:
  int before_;
#else
  OneThread() {}   // NOLINT(modernize-use-equals-default): not unused, then
  ~OneThread() {}  // NOLINT(modernize-use-equals-default)
#endif
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

template <typename T>
constexpr memory::data_type TypeOf() {
  if constexpr (std::is_same_v<T, float>) return memory::data_type::f32;
  if constexpr (std::is_same_v<T, uint8_t>) return memory::data_type::u8;
  if constexpr (std::is_same_v<T, int8_t>) return memory::data_type::s8;
  if constexpr (std::is_same_v<T, int32_t>) return memory::data_type::s32;
}

template <typename T>
memory::desc Matrix(size_t rows, size_t cols, const Dims& strides) {
  return {{static_cast<memory::dim>(rows), static_cast<memory::dim>(cols)},
          TypeOf<T>(),
          strides};
}

template <typename T>
memory::desc RowMajor(size_t rows, size_t cols) {
  return Matrix<T>(rows, cols, {static_cast<memory::dim>(cols), 1});
}

template <typename T>
memory At(const memory::desc& description, T* data) {
  return {description, Engine(), const_cast<std::remove_const_t<T>*>(data)};
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

// Independent rows in FP32, exact sums in INT8.
bool IsOfOurKind(std::string_view implementation, bool is_float) {
  const auto has = [&](std::string_view part) {
    return implementation.find(part) != std::string_view::npos;
  };
  return implementation.starts_with("brg") &&
         (is_float || has("vnni") || has("amx"));
}

struct Block {
  dnnl::matmul primitive;
  memory::desc x;
  memory::desc y;
  memory::desc scratch;
};

// At least `count` elements of a buffer that belongs to the thread.
template <typename T>
T* Reserve(std::vector<T>& buffer, size_t count) {
  if (buffer.size() < count) buffer.resize(count);
  return buffer.data();
}

template <typename X, typename W, typename Y>
class Matmul {
 public:
  // False when oneDNN has no kernel of our kind.
  bool Create(MatrixView<const W> w) {
    const OneThread one_thread;
    try {
      return Prepare(w);
    } catch (const dnnl::error&) {
      return false;
    }
  }

  bool Run(const X* x, size_t rows, Y* y) const {
    const OneThread one_thread;
    try {
      RunBlocks(x, rows, y);
    } catch (const dnnl::error&) {
      return false;
    }
    return true;
  }

  size_t packed_bytes() const { return packed_bytes_; }

 private:
  // May throw dnnl::error.
  bool Prepare(MatrixView<const W> w) {
    n_ = w.rows;
    k_ = w.cols;
    memory::desc packed(
        {static_cast<memory::dim>(k_), static_cast<memory::dim>(n_)},
        TypeOf<W>(), memory::format_tag::any);
    for (size_t i = 0; i < kBlocks.size(); ++i) {
      const memory::desc x = RowMajor<X>(kBlocks[i], k_);
      const memory::desc y = RowMajor<Y>(kBlocks[i], n_);
      const auto description = Describe(x, packed, y);
      if (!IsOfOurKind(description.impl_info_str(),
                       std::is_floating_point_v<X>)) {
        return false;
      }
      // The first block chooses the layout; the others take it over.
      if (i == 0) packed = description.weights_desc();
      blocks_[i] = {dnnl::matmul(description), x, y,
                    description.scratchpad_desc()};
    }
    weights_ = memory(packed, Engine());
    // oneDNN wants [K, N]: the same numbers with the strides exchanged.
    memory rows =
        At(Matrix<W>(k_, n_, {1, static_cast<memory::dim>(w.stride)}), w.data);
    dnnl::reorder(rows, weights_).execute(Stream(), rows, weights_);
    Stream().wait();
    packed_bytes_ = packed.get_size();
    return true;
  }

  // May throw dnnl::error.
  void RunBlocks(const X* x, size_t rows, Y* y) const {
    for (size_t i = 0; i < kBlocks.size(); ++i) {
      const size_t size = kBlocks[i];
      for (; rows >= size; rows -= size) {
        RunBlock(blocks_[i], x, y);
        x += size * k_;
        y += size * n_;
      }
    }
    if (rows > 0) RunSmallestBlock(x, rows, y);
  }

  void RunBlock(const Block& block, const X* x, Y* y) const {
    static thread_local std::vector<std::byte> buffer;
    std::byte* scratch = Reserve(buffer, block.scratch.get_size());
    block.primitive.execute(
        Stream(), {{DNNL_ARG_SRC, At(block.x, x)},
                   {DNNL_ARG_WEIGHTS, weights_},
                   {DNNL_ARG_DST, At(block.y, y)},
                   {DNNL_ARG_SCRATCHPAD, At(block.scratch, scratch)}});
    Stream().wait();  // before the next one takes the same scratch memory
  }

  // Fewer rows than the smallest block has: the others are whatever was there.
  void RunSmallestBlock(const X* x, size_t rows, Y* y) const {
    static thread_local std::vector<X> x_buffer;
    static thread_local std::vector<Y> y_buffer;
    X* full_x = Reserve(x_buffer, kBlocks.back() * k_);
    Y* full_y = Reserve(y_buffer, kBlocks.back() * n_);
    std::copy_n(x, rows * k_, full_x);
    RunBlock(blocks_.back(), full_x, full_y);
    std::copy_n(full_y, rows * n_, y);
  }

  size_t n_ = 0;
  size_t k_ = 0;
  size_t packed_bytes_ = 0;
  memory weights_;
  std::array<Block, kBlocks.size()> blocks_;
};

}  // namespace

bool OneDnnMultipliesFp32(const CpuFeatures& features) {
  return features.avx512f;
}

bool OneDnnMultipliesInt8(const CpuFeatures& features) {
  return Runs(features, Isa::kAvx512Vnni);
}

class OneDnnGemm::Impl : public Matmul<float, float, float> {};

std::unique_ptr<OneDnnGemm> OneDnnGemm::Create(MatrixView<const float> w) {
  auto impl = std::make_unique<Impl>();
  if (!impl->Create(w)) return nullptr;
  return std::unique_ptr<OneDnnGemm>(new OneDnnGemm(std::move(impl)));
}

OneDnnGemm::OneDnnGemm(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OneDnnGemm::~OneDnnGemm() = default;

bool OneDnnGemm::Run(const float* x, size_t rows, float* y) const {
  return impl_->Run(x, rows, y);
}

size_t OneDnnGemm::packed_bytes() const { return impl_->packed_bytes(); }

class OneDnnInt8Gemm::Impl : public Matmul<uint8_t, int8_t, int32_t> {};

std::unique_ptr<OneDnnInt8Gemm> OneDnnInt8Gemm::Create(
    MatrixView<const int8_t> w) {
  auto impl = std::make_unique<Impl>();
  if (!impl->Create(w)) return nullptr;
  return std::unique_ptr<OneDnnInt8Gemm>(new OneDnnInt8Gemm(std::move(impl)));
}

OneDnnInt8Gemm::OneDnnInt8Gemm(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}
OneDnnInt8Gemm::~OneDnnInt8Gemm() = default;

bool OneDnnInt8Gemm::Run(const uint8_t* x, size_t rows, int32_t* acc) const {
  return impl_->Run(x, rows, acc);
}

size_t OneDnnInt8Gemm::packed_bytes() const { return impl_->packed_bytes(); }

}  // namespace octet::kernels
