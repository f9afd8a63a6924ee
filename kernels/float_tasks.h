// Tasks of a call on its pool, or in a plain loop where there is none or where
// the call is too small (small_work.h).

#ifndef OCTET_KERNELS_FLOAT_TASKS_H_
#define OCTET_KERNELS_FLOAT_TASKS_H_

#include <algorithm>
#include <cstddef>

#include "absl/functional/function_ref.h"
#include "kernels/small_work.h"
#include "kernels/thread_pool.h"

namespace octet::kernels {

// `products`: multiply-adds of all tasks together.
inline void RunTasks(ThreadPool* pool, size_t products, size_t tasks,
                     absl::FunctionRef<void(size_t)> body) {
  if (pool != nullptr && pool->threads() > 1 && tasks > 1 &&
      WorthSharing(products)) {
    pool->ParallelFor(tasks, body);
    return;
  }
  for (size_t task = 0; task < tasks; ++task) body(task);
}

// body(begin, end) for blocks of the rows of a norm, which are `width` long.
inline void RunNormedRows(ThreadPool* pool, size_t rows, size_t width,
                          absl::FunctionRef<void(size_t, size_t)> body) {
  const size_t per_row = std::max<size_t>(width * kProductsPerNormed, 1);
  const size_t block = (kMinTaskProducts + per_row - 1) / per_row;
  const size_t blocks = (rows + block - 1) / block;
  RunTasks(pool, rows * per_row, blocks, [&](size_t index) {
    body(index * block, std::min(rows, (index + 1) * block));
  });
}

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_FLOAT_TASKS_H_
