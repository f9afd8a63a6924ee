#include "kernels/simd_avx512.h"
#include "kernels/tile_ops.h"
#include "kernels/tile_ops_body.h"

namespace octet::kernels {

extern const TileOps kAvx512TileOps;
const TileOps kAvx512TileOps = kTileOpsOf<FloatX16>;

}  // namespace octet::kernels
