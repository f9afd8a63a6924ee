// The vector code behind layer and rms norm, attention and the panel GEMM: one
// body (float_companions_body.h) compiled once per instruction set, and the
// table through which the best of them is called.
//
// A row's bits are the same in any batch and on any number of threads, for
// every output is one sum in the order of k. They may differ in the last place
// between instruction sets (vector width, fused multiply-adds).

#ifndef OCTET_KERNELS_FLOAT_COMPANIONS_H_
#define OCTET_KERNELS_FLOAT_COMPANIONS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/cpu_features.h"

namespace octet::kernels {

enum class FloatType : uint8_t { kFp32, kFp16, kBf16 };

// c[m, 0..cols) = sum_k a[m,k] * b[k, 0..cols), b one packed panel [k, panel].
struct PanelTask {
  const float* a;
  size_t lda;
  size_t rows;
  const void* b;  // elements of the function's type
  size_t k;
  float* c;
  size_t ldc;
  size_t cols;  // <= panel_cols
};

// What attention multiplies. kBf16: q, k, v and the weights of the softmax are
// rounded to BF16, sums are FP32; on every CPU, whether it has an instruction
// for that or not.
enum class AttentionPrecision : uint8_t { kFp32, kBf16 };

// One head of one sequence. `scratch` holds attention_scratch(length, width)
// floats.
struct AttentionTask {
  const float* query;
  const float* key;
  const float* value;
  float* out;
  size_t query_stride;
  size_t key_stride;
  size_t value_stride;
  size_t out_stride;
  size_t length;
  size_t width;
  float scale;
  float* scratch;
  AttentionPrecision precision = AttentionPrecision::kFp32;
};

struct LayerNormTask {
  const float* x;
  float* y;
  const float* weight;
  const float* bias;
  size_t width;
  float epsilon;
};

struct RmsNormTask {
  const float* x;
  float* y;
  const float* weight;
  size_t width;
  float epsilon;
};

struct FloatCompanions {
  const char* isa;
  size_t panel_cols;
  void (*panel_fp32)(const PanelTask&);
  void (*panel_fp16)(const PanelTask&);
  void (*panel_bf16)(const PanelTask&);
  void (*attention)(const AttentionTask&);
  size_t (*attention_scratch)(size_t length, size_t width);
  void (*layer_norm)(const LayerNormTask&);
  void (*rms_norm)(const RmsNormTask&);
};

// The best that such a CPU runs.
const FloatCompanions& SelectFloatCompanions(const CpuFeatures& features);
// That of HostFeatures().
const FloatCompanions& HostFloatCompanions();

extern const FloatCompanions kFloatCompanionsGeneric;
#if defined(__x86_64__)
extern const FloatCompanions kFloatCompanionsAvx2;
extern const FloatCompanions kFloatCompanionsAvx512;
extern const FloatCompanions kFloatCompanionsAvx512Bf16;
#elif defined(__aarch64__)
extern const FloatCompanions kFloatCompanionsNeon;
#endif

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_FLOAT_COMPANIONS_H_
