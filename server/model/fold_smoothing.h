// FoldSmoothing: a smoothed input, x / s, made by what writes x.
//
//   norm, or linear without residual, its activation none or ReLU
//     (act(W z + b)) / s = act((W / s) z + b / s)          s > 0, by rows
//   attention, folded into the linear of its values
//     softmax(..) v / s = softmax(..) (v / s)              by columns of v
//
// so that nobody has to divide when the model runs (SmoothQuant, Xiao et al.
// 2022, section 4.3). Only where all that read x are linears which share s: a
// residual that reads x, too, as after the norms of BERT, needs it whole.

#ifndef OCTET_SERVER_MODEL_FOLD_SMOOTHING_H_
#define OCTET_SERVER_MODEL_FOLD_SMOOTHING_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/model/graph.h"
#include "server/model/tensor.h"

namespace octet::model {

// The layer (linear or norm) whose weight and bias can be divided in place of
// a value that linears read, if there is one.
std::optional<std::string> FoldTarget(const Graph& graph, ValueId value);

// Factors by layer.
using LayerFactors = std::map<std::string, std::vector<float>, std::less<>>;

struct SmoothingFolds {
  LayerFactors divided;     // [rows of P.weight]: weight and bias are divided
  LayerFactors multiplied;  // [columns of P.weight]: the weight is multiplied
};

// For factors s [K] of each linear that has them: those that fold, the linears
// themselves under `multiplied`. Layers that read one value must all be there,
// with the same factors; otherwise it is left as it is.
SmoothingFolds FoldSmoothing(const Graph& graph, const LayerFactors& smoothing);

// A checkpoint whose folded layers are divided, or multiplied, or both, which
// is the same model again. They become FP32, and stay in memory.
class FoldedTensors : public TensorSource {
 public:
  // `tensors` outlives this. Errors: INVALID_ARGUMENT naming a tensor that is
  // not float or has another number of rows or columns.
  static absl::StatusOr<FoldedTensors> Create(const TensorSource& tensors,
                                              const SmoothingFolds& folds);

  std::vector<std::string> Names() const override { return tensors_->Names(); }
  absl::StatusOr<TensorView> Find(std::string_view name) const override;

 private:
  explicit FoldedTensors(const TensorSource& tensors) : tensors_(&tensors) {}

  // `along`: the dimension that factors are of.
  absl::Status Scale(const std::string& name, size_t along,
                     const std::vector<float>& factors, bool divide);

  const TensorSource* tensors_;
  struct Changed {
    std::vector<int64_t> shape;
    std::vector<float> values;
  };
  std::map<std::string, Changed, std::less<>> changed_;
};

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_FOLD_SMOOTHING_H_
