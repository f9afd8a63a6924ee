// A chain of linears with one activation between them:
//   {"model_type": "mlp", "layers": ["fc1", "fc2"], "hidden_act": "relu"}
// Widths come from the weights.

#include <set>
#include <string_view>

#include "absl/status/status.h"
#include "kernels/status_macros.h"
#include "server/model/import_support.h"
#include "server/model/str_cat.h"

namespace octet::model {

absl::StatusOr<Graph> ImportMlp(const ConfigFiles& configs,
                                const TensorSource& tensors) {
  ASSIGN_OR_RETURN(const JsonFields config,
                   JsonFields::Parse(configs, "config.json"));
  ASSIGN_OR_RETURN(const std::vector<std::string> layers,
                   config.Texts("layers"));
  ASSIGN_OR_RETURN(const kernels::Activation activation,
                   ParseActivation(config, "hidden_act"));
  if (layers.empty()) return config.Error("layers", "names no layer");

  Graph graph;
  graph.family = "mlp";
  graph.input = InputKind::kFeatures;
  std::set<std::string_view> seen;
  for (size_t i = 0; i < layers.size(); ++i) {
    // Statistics and plans go by layer name: one layer, one place.
    if (!seen.insert(layers[i]).second) {
      return config.Error("layers", StrCat("names '", layers[i], "' twice"));
    }
    ASSIGN_OR_RETURN(Linear linear, InferLinear(tensors, layers[i]));
    if (i == 0) {
      graph.input_width = linear.in_features;
      graph.widths.push_back(linear.in_features);
    } else if (linear.in_features != graph.widths.back()) {
      return absl::InvalidArgumentError(
          StrCat("layer '", layers[i], "' takes ", linear.in_features,
                 " features; layer '", layers[i - 1], "' before it gives ",
                 graph.widths.back()));
    }
    linear.input = graph.widths.size() - 1;
    linear.output = graph.widths.size();
    if (i + 1 < layers.size()) linear.activation = activation;
    graph.widths.push_back(linear.out_features);
    graph.operators.emplace_back(std::move(linear));
  }
  graph.output = graph.widths.size() - 1;
  return graph;
}

}  // namespace octet::model
