// What Octet's int8 linear is measured against: oneDNN matmul primitives with
// weights packed ahead of time in the layout oneDNN asks for.

#ifndef OCTET_TESTS_BENCHMARKS_KERNELS_ONEDNN_BASELINES_H_
#define OCTET_TESTS_BENCHMARKS_KERNELS_ONEDNN_BASELINES_H_

#include <cstddef>
#include <memory>

namespace octet::benchmarks {

class OneDnnMatmul {
 public:
  // FP32 x FP32 -> FP32.
  static std::unique_ptr<OneDnnMatmul> Float(size_t m, size_t k, size_t n);
  // u8 x s8 -> s32: the multiplication alone, no scales, no quantization.
  static std::unique_ptr<OneDnnMatmul> Int8(size_t m, size_t k, size_t n);

  virtual ~OneDnnMatmul() = default;
  virtual void Run() = 0;
};

// oneDNN and the OpenMP under it compute on the calling thread alone.
void UseOneThread();

}  // namespace octet::benchmarks

#endif  // OCTET_TESTS_BENCHMARKS_KERNELS_ONEDNN_BASELINES_H_
