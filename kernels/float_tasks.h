// ParallelFor where there is a pool, a plain loop where there is none.

#ifndef OCTET_KERNELS_FLOAT_TASKS_H_
#define OCTET_KERNELS_FLOAT_TASKS_H_

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "kernels/thread_pool.h"

namespace octet::kernels {

inline void RunTasks(ThreadPool* pool, size_t tasks,
                     absl::FunctionRef<void(size_t)> body) {
  if (pool != nullptr && pool->threads() > 1 && tasks > 1) {
    pool->ParallelFor(tasks, body);
    return;
  }
  for (size_t task = 0; task < tasks; ++task) body(task);
}

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_FLOAT_TASKS_H_
