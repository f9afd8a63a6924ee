// What a layer's stored weights are away from its float ones, as x sees them:
//
//   W_stored = (code * scale), rotated back, divided by the smoothing;
//              FP16 in outlier columns
//
// Rows are compared in parallel and added up in their order, so that the
// result does not depend on the number of threads.

#ifndef OCTET_SERVER_QUANTIZATION_STORAGE_WEIGHT_ERRORS_H_
#define OCTET_SERVER_QUANTIZATION_STORAGE_WEIGHT_ERRORS_H_

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/quantization/methods/error_measures.h"
#include "server/quantization/methods/layer_plan.h"
#include "server/quantization/methods/layer_quantizer.h"

namespace octet::quantization {

// `layer` holds the rows of `weight`.
ErrorAccumulator Int8WeightErrors(kernels::MatrixView<const float> weight,
                                  const QuantizedLayer& layer,
                                  const LayerPlan& plan,
                                  kernels::ThreadPool* pool);

// `stored_row(n, row)` fills in row n as it is stored.
ErrorAccumulator RowErrors(
    kernels::MatrixView<const float> weight,
    absl::FunctionRef<void(size_t, absl::Span<float>)> stored_row,
    kernels::ThreadPool* pool);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_STORAGE_WEIGHT_ERRORS_H_
