// What an Int8Linear holds, and how a call is cut into tasks.
//
//   task   a block of rows x a range of panels: its rows are quantized into
//          the thread's own scratch, then multiplied panel by panel
//   tile   mr rows x one panel: dot, outliers, epilogue, all in L1
//
// Few rows: the panels are shared out, and each task quantizes the rows again,
// which is cheaper than a barrier.

#ifndef OCTET_KERNELS_INT8_LINEAR_IMPL_H_
#define OCTET_KERNELS_INT8_LINEAR_IMPL_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/int8_linear.h"
#include "kernels/matrix_view.h"
#include "kernels/packed_weights.h"
#include "kernels/phase_clock.h"
#include "kernels/phase_sampler.h"
#include "kernels/quantize_rows.h"
#include "kernels/registry.h"

namespace octet::kernels {

class Int8Linear::Impl {
 public:
  // `spec` has been checked.
  Impl(const Kernel& kernel, const Int8LinearSpec& spec);

  // Shapes have been checked; x has at least one row.
  void Run(MatrixView<const float> x, MatrixView<float> y,
           const LinearCall& call) const;

  const Kernel& kernel() const { return kernel_; }
  const PackedWeights& weights() const { return weights_; }
  size_t bytes() const;

 private:
  struct Scratch;
  struct Task;
  struct Partition;

  void KeepOutliers(const Int8LinearSpec& spec);
  Partition Divide(size_t rows, size_t threads) const;
  PhaseTimes RunTask(const Task& task) const;
  void QuantizeBlock(const Task& task, Scratch& scratch) const;
  void ListLiveOutliers(const float* x, Scratch& scratch) const;
  void RunTile(const Task& task, size_t row, const Panel& panel,
               Scratch& scratch, PhaseSampler* sampler) const;
  void Multiply(size_t row, size_t rows, const Panel& panel,
                Scratch& scratch) const;
  void MultiplySplit(size_t row, size_t rows, const Panel& panel,
                     Scratch& scratch) const;
  bool AddOutliers(size_t row, size_t rows, const Panel& panel,
                   Scratch& scratch) const;
  size_t PaddedK() const { return weights_.groups() * kernel_.kr; }
  bool splits_k() const { return weights_.k() > weights_.max_exact_k(); }

  const Kernel& kernel_;
  PackedWeights weights_;
  RowCoding coding_;
  std::vector<float> scales_;   // [padded N], like all that the panels index
  std::vector<float> bias_;     // [padded N]
  std::vector<int32_t> seeds_;  // [padded N]; zeros where K is split
  std::vector<uint32_t> keep_;  // [K], where there are outlier columns
  std::vector<int32_t> outlier_columns_;
  std::vector<uint16_t> outlier_weights_;  // FP16 [columns, padded N]
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_INT8_LINEAR_IMPL_H_
