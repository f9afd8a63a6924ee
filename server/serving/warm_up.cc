#include "server/serving/warm_up.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/status_macros.h"
#include "server/model/graph.h"
#include "server/model/linear_layer.h"
#include "server/model/str_cat.h"

namespace octet::serving {
namespace {

constexpr size_t kTokens = 8;

absl::Status RunLayers(const model::Model& model) {
  for (const model::Linear* linear : model.graph().Linears()) {
    ASSIGN_OR_RETURN(const model::LinearLayer* const layer,
                     model.FindLinear(linear->layer));
    const std::vector<float> x(linear->in_features, 0.0F);
    std::vector<float> y(linear->out_features);
    RETURN_IF_ERROR(layer->Run({x.data(), 1, x.size()}, {y.data(), 1, y.size()},
                               kernels::LinearCall()));
  }
  return absl::OkStatus();
}

absl::Status Run(const model::Model& model) {
  const model::Graph& graph = model.graph();
  model::ModelInput input;
  switch (graph.input) {
    case model::InputKind::kTokens: {
      const size_t tokens = std::min(kTokens, graph.max_positions);
      input.token_ids.assign(tokens, 0);
      input.lengths = {static_cast<int32_t>(tokens)};
      break;
    }
    case model::InputKind::kFeatures:
      input.features.assign(graph.input_width, 0.0F);
      input.feature_rows = 1;
      break;
    case model::InputKind::kNone:
      return RunLayers(model);
  }
  return model.Forward(input, {}).status();
}

}  // namespace

absl::Status WarmUp(const model::Model& model) {
  const absl::Status status = Run(model);
  if (status.ok()) return status;
  return absl::FailedPreconditionError(model::StrCat(
      "the model was read but gives no answer: ", status.message()));
}

}  // namespace octet::serving
