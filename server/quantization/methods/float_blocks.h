// A float tensor's values as FP32, a block at a time: a tensor may be larger
// than the memory that a job may take, and a mapped one's pages count as well.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_FLOAT_BLOCKS_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_FLOAT_BLOCKS_H_

#include <cstddef>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/thread_pool.h"
#include "server/model/tensor.h"

namespace octet::quantization {

// Gets the values from element `first` on; they are gone after the call.
using BlockBody =
    absl::FunctionRef<absl::Status(size_t first, absl::Span<const float>)>;

// Calls `body` with every block of `block_elements`, the last one shorter, in
// order, until one fails. Values are divided by the factor of their row, where
// there are `row_divisors`. INVALID_ARGUMENT naming the tensor when it is not
// float, or holds a NaN or an infinity. `pool` may be nullptr.
absl::Status ForEachBlock(const model::TensorSource& source,
                          std::string_view name,
                          absl::Span<const float> row_divisors,
                          size_t block_elements, kernels::ThreadPool* pool,
                          BlockBody body);

// `values` begin at element `first` of a tensor whose rows have `columns`.
void DivideRows(absl::Span<const float> row_divisors, size_t columns,
                size_t first, absl::Span<float> values);

// As many elements as 64 MiB of FP32 have, in whole rows of `columns`.
size_t BlockElements(size_t columns);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_FLOAT_BLOCKS_H_
