#include "kernels/simd_avx2.h"
#include "kernels/tile_ops.h"
#include "kernels/tile_ops_body.h"

namespace octet::kernels {

extern const TileOps kAvx2TileOps;
const TileOps kAvx2TileOps = kTileOpsOf<FloatX8>;

}  // namespace octet::kernels
