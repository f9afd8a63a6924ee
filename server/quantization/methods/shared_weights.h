// The weights that one input meets, as smoothing looks at them: the largest of
// each column over all layers that read the input, and rows to try out on.
//
// Of a large weight there is no more in memory than a block (float_blocks.h):
// as many of its rows as that holds, evenly drawn. An error averaged over some
// thousand output channels is that of all, for what a search needs.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_SHARED_WEIGHTS_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_SHARED_WEIGHTS_H_

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/model/tensor.h"
#include "server/quantization/calibration/input_groups.h"

namespace octet::quantization {

class SharedWeights {
 public:
  // All of weights [N, K] that are in memory already, and outlive this.
  explicit SharedWeights(
      absl::Span<const kernels::MatrixView<const float>> weights);

  // Of the linears of one input, from the file. At most `max_rows` of each are
  // kept; 0: as many as a block has. Errors: those of ForEachBlock.
  static absl::StatusOr<SharedWeights> Load(
      const InputGroup& linears, const model::TensorSource& checkpoint,
      kernels::ThreadPool* pool, size_t max_rows = 0);

  // Rows point into what is kept.
  SharedWeights(SharedWeights&&) = default;
  SharedWeights& operator=(SharedWeights&&) = default;

  absl::Span<const float> column_absmax() const { return column_absmax_; }
  absl::Span<const kernels::MatrixView<const float>> rows() const {
    return rows_;
  }

 private:
  SharedWeights() = default;

  absl::Status LoadOne(const model::Linear& linear,
                       const model::TensorSource& checkpoint,
                       kernels::ThreadPool* pool, size_t max_rows);
  void CountColumns(kernels::MatrixView<const float> weight);

  std::vector<float> column_absmax_;                    // [K]
  std::vector<std::vector<float>> kept_;                // of each layer
  std::vector<kernels::MatrixView<const float>> rows_;  // into them
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_SHARED_WEIGHTS_H_
