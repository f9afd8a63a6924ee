// Multi-head attention over ragged sequences, without a mask:
//   out = softmax(Q K^T / sqrt(d)) V     within each sequence and head,
// d = width / heads. Sequences are concatenated; nothing is padded, and no
// matrix of length x length is made.

#ifndef OCTET_KERNELS_FLOAT_ATTENTION_H_
#define OCTET_KERNELS_FLOAT_ATTENTION_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/float_companions.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"

namespace octet::kernels {

// query, key, value and out are [sum(lengths), width]; `heads` divides width.
void Attention(MatrixView<const float> query, MatrixView<const float> key,
               MatrixView<const float> value, size_t heads,
               absl::Span<const int32_t> lengths, AttentionPrecision precision,
               MatrixView<float> out, ThreadPool* pool);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_FLOAT_ATTENTION_H_
