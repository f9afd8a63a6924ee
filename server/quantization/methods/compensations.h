// Error compensation by what it depends on: rows of an input, and what stands
// between them and their codes. The linears that read one input (q, k and v),
// the blocks of a large weight, and ways to code the same values share one: its
// Hessian and factor are most of GPTQ's time.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_COMPENSATIONS_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_COMPENSATIONS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/quantization/methods/gptq.h"
#include "server/quantization/methods/layer_plan.h"

namespace octet::quantization {

// Holds the last one made, so that those who share it should come in turn.
class Compensations {
 public:
  // `cancelled` is that of gptq.h.
  explicit Compensations(std::function<bool()> cancelled = {})
      : cancelled_(std::move(cancelled)) {}

  // For sample rows [R, K], R at least 1, coded as `plan` says; valid until the
  // next call. Errors: those of ErrorCompensation.
  absl::StatusOr<const ErrorCompensation*> For(
      kernels::MatrixView<const float> rows, const LayerPlan& plan,
      kernels::ThreadPool* pool);

  size_t made() const { return made_; }

 private:
  // Rows are told apart by where they are: they stay there as long as this.
  struct Key {
    const float* rows = nullptr;
    size_t count = 0;
    std::vector<float> smoothing;
    std::vector<int32_t> outlier_columns;
    uint32_t hadamard_block = 0;

    friend bool operator==(const Key&, const Key&) = default;
  };

  std::function<bool()> cancelled_;
  Key key_;
  std::optional<ErrorCompensation> last_;
  size_t made_ = 0;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_COMPENSATIONS_H_
