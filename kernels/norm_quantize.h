// Layer norm that leaves its rows twice: as floats, and as the codes that
// INT8 layers of per-token activations take (LinearInput::Codes),
//   y        = as in float_layer_norm.h
//   scale[m] = max_k |y[m,k]| / 127
//   code     = round_half_even(y / scale[m]) + 128
// A row is coded while it is in L1, once for all who read it. Bit-equal to the
// norm and the layers' own quantization (quantize_rows.h) one after the other.

#ifndef OCTET_KERNELS_NORM_QUANTIZE_H_
#define OCTET_KERNELS_NORM_QUANTIZE_H_

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/float_companions.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

struct NormQuantize {
  MatrixView<const float> x;  // [M, N]
  absl::Span<const float> weight;
  absl::Span<const float> bias;
  float epsilon;
  MatrixView<float> y;  // may be x
  MatrixView<uint8_t> codes;
  float* scales;                    // [M]
  uint64_t* quantize_ns = nullptr;  // what codes took; estimated from some rows
};

void LayerNormQuantize(const NormQuantize& call, ThreadPool* pool);
// On instruction sets of one's own choice; one thread.
void LayerNormQuantizeWith(const FloatCompanions& companions,
                           const TileOps& ops, const NormQuantize& call);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_NORM_QUANTIZE_H_
