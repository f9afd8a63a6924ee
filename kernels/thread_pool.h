// The one pool of compute threads of a process.
//
//   pool.ParallelFor(tasks, body)   runs body(0) ... body(tasks - 1), each once
//
// Results never depend on the number of threads: a task's work is fixed by its
// index alone. Several threads may call ParallelFor at the same time; each call
// returns when its own tasks are done, and the calling thread helps.
//
// Waking a sleeping thread takes some 25 us, as long as a small linear. So a
// worker that runs out of tasks, and a caller whose last task is still with a
// worker, look out for a moment before they sleep; not where threads outnumber
// CPUs and would take them from each other.
//
// Whoever computes on threads of its own, too, says how many workers may help
// (LetHelp), so that no more threads compute than there are CPUs. It may change
// at any time: workers that are too many leave after the task they are at, and
// those that may again help with the calls that come.

#ifndef OCTET_KERNELS_THREAD_POOL_H_
#define OCTET_KERNELS_THREAD_POOL_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"

namespace octet::kernels {

class ThreadPool {
 public:
  // `threads` counts the calling thread: 1 starts no worker. 0 = UsableCpus()
  // (usable_cpus.h). Throws std::system_error where the system does not start
  // that many; none is left then.
  explicit ThreadPool(size_t threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // That a call is divided between at present: its own and those that may help.
  size_t threads() const;
  // Workers that may help from now on. At first: all.
  void LetHelp(size_t workers);
  // Calls of ParallelFor so far that were open to other threads.
  uint64_t shared_calls() const;

  // Not reentrant from inside a task. `body` must not throw.
  void ParallelFor(size_t tasks, absl::FunctionRef<void(size_t)> body);

 private:
  class Workers;
  std::unique_ptr<Workers> workers_;  // none: nullptr
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_THREAD_POOL_H_
