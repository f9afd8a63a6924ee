// y = x W^T through oneDNN, in FP32 and in INT8: the one place that knows its
// API (2.6 and 3.x differ), and the place where its habits are fenced in.
//
// Batch invariance. oneDNN's batch-reduced kernels ("brg") give a row the same
// bits whatever M is and wherever the row stands, with one exception: 3.x adds
// up in another order where M is 1, and so it always gets two rows. Its older
// GEMM ("gemm:jit", what it falls back to without AVX-512) does not: even row 7
// differs from row 0 in one call. Only the former is used; Create says when
// there is none.
//
// INT8 is exact where the CPU has an INT8 dot product. Without one, oneDNN adds
// pairs of products in 16 bits, which saturates: then there is none here.
//
// Threads. Debian's oneDNN runs OpenMP inside a primitive. Every call here is
// made with OpenMP set to one thread for the calling thread, and work is cut
// up by kernels::ThreadPool instead. A oneDNN with another runtime may use
// threads of its own, which changes no result.
//
// Instruction sets. oneDNN looks at the CPU by itself and takes the best it
// finds, AMX included. Whoever lowers the instruction set (OCTET_MAX_ISA) gets
// none of it: callers ask one of the two below, with HostFeatures().

#ifndef OCTET_KERNELS_ONEDNN_GEMM_H_
#define OCTET_KERNELS_ONEDNN_GEMM_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/cpu_features.h"
#include "kernels/matrix_view.h"

namespace octet::kernels {

bool OneDnnMultipliesFp32(const CpuFeatures& features);
bool OneDnnMultipliesInt8(const CpuFeatures& features);

class OneDnnGemm {
 public:
  // Packs w [N, K]; nothing has to outlive the call. nullptr when oneDNN has
  // no kernel of the kind described above for this CPU and shape.
  static std::unique_ptr<OneDnnGemm> Create(MatrixView<const float> w);
  ~OneDnnGemm();

  // x [M, K], y [M, N], both contiguous, on the calling thread. False when
  // oneDNN reports an error.
  bool Run(const float* x, size_t rows, float* y) const;

  size_t packed_bytes() const;

 private:
  class Impl;
  explicit OneDnnGemm(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// acc[m,n] = sum_k x[m,k] * W[n,k], x in u8 and W in s8; sums wrap like those
// of our own kernels (microkernel.h). On a CPU with AMX, oneDNN uses it.
// Everything else is as with OneDnnGemm.
class OneDnnInt8Gemm {
 public:
  static std::unique_ptr<OneDnnInt8Gemm> Create(MatrixView<const int8_t> w);
  ~OneDnnInt8Gemm();

  bool Run(const uint8_t* x, size_t rows, int32_t* acc) const;

  size_t packed_bytes() const;

 private:
  class Impl;
  explicit OneDnnInt8Gemm(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_ONEDNN_GEMM_H_
