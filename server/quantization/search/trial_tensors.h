// A checkpoint with some of its linears quantized, in memory: what a bundle
// would hold, before there is one.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_TRIAL_TENSORS_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_TRIAL_TENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/model/graph.h"
#include "server/model/tensor.h"
#include "server/quantization/methods/layer_plan.h"
#include "server/quantization/methods/layer_quantizer.h"

namespace octet::quantization {

class TrialTensors : public model::TensorSource {
 public:
  // `checkpoint` outlives this.
  explicit TrialTensors(const model::TensorSource& checkpoint)
      : checkpoint_(checkpoint) {}

  std::vector<std::string> Names() const override;
  absl::StatusOr<model::TensorView> Find(std::string_view name) const override;

  // The layer's tensors take the place of those of its name.
  void Put(const model::Linear& linear, const LayerPlan& plan,
           const QuantizedLayer& layer);
  // The layer is as it was before Put.
  void Remove(const model::Linear& linear);
  // A float tensor is as it is after rounding to `type`, which holds its
  // values, but where Put has put another.
  absl::Status Round(const std::string& name, model::DataType type);

  // Of what was put in place of the layer's tensors.
  uint64_t StoredBytes(const model::Linear& linear) const;

 private:
  struct Tensor {
    model::DataType type;
    std::vector<int64_t> shape;
    std::vector<std::byte> bytes;
  };

  using Tensors = std::map<std::string, Tensor, std::less<>>;

  const model::TensorSource& checkpoint_;
  Tensors rounded_;
  Tensors put_;
  // What was put, by layer: names alone do not tell layers 'a' and 'a.b' apart.
  std::map<std::string, std::vector<std::string>> parts_;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_TRIAL_TENSORS_H_
