#include "kernels/simd_neon.h"
#include "kernels/tile_ops.h"
#include "kernels/tile_ops_body.h"

namespace octet::kernels {

extern const TileOps kNeonTileOps;
const TileOps kNeonTileOps = kTileOpsOf<FloatX4>;

}  // namespace octet::kernels
