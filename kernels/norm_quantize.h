// A norm that leaves its rows twice: as floats, and as the codes that an INT8
// layer makes of them (LinearInput::Codes),
//
//   y        as in float_layer_norm.h, or float_rms_norm.h where there is no
//            bias
//   codes    as in quantize_rows.h: of y per token, or as the layer that reads
//            them codes its input (Int8Linear::input_coding): static, smoothed,
//            rotated
//
// A row is coded while it is in L1, once for all who read it. Bit-equal to the
// norm and the layer's own quantization one after the other.
//
// Not for layers with outliers: those need the values that leave the INT8
// product beside the codes, a list of its own length in every row, and go on
// making both from y.

#ifndef OCTET_KERNELS_NORM_QUANTIZE_H_
#define OCTET_KERNELS_NORM_QUANTIZE_H_

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/float_companions.h"
#include "kernels/matrix_view.h"
#include "kernels/quantize_rows.h"
#include "kernels/thread_pool.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

struct NormQuantize {
  MatrixView<const float> x;  // [M, N]
  absl::Span<const float> weight;
  absl::Span<const float> bias;  // empty: RMS norm
  float epsilon;
  MatrixView<float> y;  // may be x
  RowCoding coding;     // without outliers; its code_offset does not count
  MatrixView<uint8_t> codes;
  float* scales;                    // [M]
  uint64_t* quantize_ns = nullptr;  // what codes took; estimated from some rows
};

void NormAndQuantize(const NormQuantize& call, ThreadPool* pool);
// On instruction sets of one's own choice; one thread.
void NormAndQuantizeWith(const FloatCompanions& companions, const TileOps& ops,
                         const NormQuantize& call);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_NORM_QUANTIZE_H_
