#include "kernels/simd_scalar.h"
#include "kernels/tile_ops.h"
#include "kernels/tile_ops_body.h"

namespace octet::kernels {

extern const TileOps kScalarTileOps;
const TileOps kScalarTileOps = kTileOpsOf<FloatX1>;

}  // namespace octet::kernels
