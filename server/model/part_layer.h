// One of the layers that were stacked into a single matrix: what its name still
// stands for.

#ifndef OCTET_SERVER_MODEL_PART_LAYER_H_
#define OCTET_SERVER_MODEL_PART_LAYER_H_

#include <cstddef>
#include <memory>

#include "server/model/linear_layer.h"

namespace octet::model {

// Output channels [first, first + count) of `stacked`, which is INT8 and must
// outlive the part. Both are multiples of Int8Linear::ColumnStep().
std::unique_ptr<LinearLayer> MakePartLayer(const LinearLayer& stacked,
                                           size_t first, size_t count);

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_PART_LAYER_H_
