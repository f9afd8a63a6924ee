// What the report shows of a linear's weight: its values, how its channels
// differ, and what its codes can hold. Rows come block by block and are
// forgotten; memory is a number per output channel.
//
// Values are those that become codes: smoothed and rotated as the plan says,
// zero in outlier columns.

#ifndef OCTET_SERVER_QUANTIZATION_STORAGE_WEIGHT_SUMMARY_H_
#define OCTET_SERVER_QUANTIZATION_STORAGE_WEIGHT_SUMMARY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/bundle/report.h"
#include "server/quantization/calibration/histogram.h"
#include "server/quantization/methods/input_transform.h"
#include "server/quantization/methods/layer_plan.h"

namespace octet::quantization {

class WeightSummary {
 public:
  // `plan` outlives it.
  explicit WeightSummary(const LayerPlan& plan)
      : transform_(plan), group_size_(plan.scheme.group_size) {}

  // The next rows [R, K] of the float weight, finite. `scales` are theirs, [R]
  // or [R, K / group_size rounded up]; empty where they stay float. `pool` may
  // be nullptr.
  void Add(kernels::MatrixView<const float> rows,
           absl::Span<const float> scales, kernels::ThreadPool* pool);

  bundle::TensorReport Result() const;

 private:
  struct Part {  // of some rows
    Histogram histogram;
    float min = 0.0F;
    float max = 0.0F;
    double sum = 0.0;
    double sum_squares = 0.0;
    uint64_t values = 0;
    uint64_t clipped = 0;
    float largest_scale = 0.0F;
    std::vector<float> absmax;  // [rows]
  };

  Part Summarize(kernels::MatrixView<const float> rows,
                 absl::Span<const float> scales) const;
  void Merge(const Part& part);

  InputTransform transform_;
  size_t group_size_;  // 0: all of a row
  Part all_;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_STORAGE_WEIGHT_SUMMARY_H_
