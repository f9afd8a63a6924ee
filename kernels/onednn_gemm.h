// y = x W^T in FP32 through oneDNN: the one place that knows its API (2.6 and
// 3.x differ), and the place where its habits are fenced in.
//
// Batch invariance. oneDNN's batch-reduced kernels ("brg") give a row the same
// bits whatever M is and wherever the row stands; its older GEMM ("gemm:jit",
// what it falls back to without AVX-512) does not: even row 7 differs from row
// 0 in one call. Only the former is used; Create says when there is none.
//
// Threads. Debian's oneDNN runs OpenMP inside a primitive. Every call here is
// made with OpenMP set to one thread for the calling thread, and work is cut
// up by kernels::ThreadPool instead.

#ifndef OCTET_KERNELS_ONEDNN_GEMM_H_
#define OCTET_KERNELS_ONEDNN_GEMM_H_

#include <cstddef>
#include <memory>

#include "kernels/matrix_view.h"

namespace octet::kernels {

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

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_ONEDNN_GEMM_H_
