#include "server/model/graph_passes.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "kernels/int8_linear.h"
#include "server/model/stacked_tensors.h"
#include "server/model/values.h"

namespace octet::model {
namespace {

// The linear that writes a value, or nullptr.
const Linear* LinearThatWrites(const Graph& graph, ValueId id) {
  const auto writer = std::find_if(
      graph.operators.begin(), graph.operators.end(), [&](const Operator& op) {
        const auto* linear = std::get_if<Linear>(&op);
        return linear != nullptr && linear->output == id;
      });
  return writer == graph.operators.end() ? nullptr : &std::get<Linear>(*writer);
}

bool IsInt8(const Plan& plan, const Linear* linear) {
  if (linear == nullptr) return false;
  const auto planned = plan.find(linear->layer);
  return planned != plan.end() && IsInt8(planned->second.scheme);
}

// What a linear does with its input; nullptr where the plan leaves it FP32.
const LinearScheme* SchemeOf(const Plan& plan, const Linear& linear) {
  const auto planned =
      plan.find(linear.parts.empty() ? linear.layer : linear.parts[0].layer);
  return planned == plan.end() ? nullptr : &planned->second;
}

// The floats decide about outliers.
bool TakesCodes(const LinearScheme* scheme) {
  return scheme != nullptr && (scheme->scheme == Scheme::kW8A8Dynamic ||
                               scheme->scheme == Scheme::kW8A8Static);
}

// Its codes are of the input itself, per token: those of all such layers.
bool CodesPlainly(const LinearScheme& scheme) {
  return scheme.scheme == Scheme::kW8A8Dynamic && scheme.hadamard_block == 0 &&
         !scheme.smoothed;
}

// Who is to read the codes of a value: all that code it plainly; else the first
// that codes it in a way of its own.
std::vector<Linear*> ReadersOfCodes(Graph& graph, const Plan& plan,
                                    ValueId value) {
  std::vector<Linear*> plain;
  std::vector<Linear*> special;
  for (Operator& op : graph.operators) {
    auto* linear = std::get_if<Linear>(&op);
    if (linear == nullptr || linear->input != value) continue;
    const LinearScheme* scheme = SchemeOf(plan, *linear);
    if (!TakesCodes(scheme)) continue;
    (CodesPlainly(*scheme) ? plain : special).push_back(linear);
  }
  if (!plain.empty() || special.empty()) return plain;
  return {special.front()};
}

// How often a value is read or leaves the graph.
size_t Uses(const Graph& graph, ValueId id) {
  size_t uses = (graph.hidden == id ? 1 : 0) + (graph.output == id ? 1 : 0);
  for (const Operator& op : graph.operators) {
    const std::vector<ValueId> inputs = InputsOf(op);
    uses += static_cast<size_t>(std::count(inputs.begin(), inputs.end(), id));
  }
  return uses;
}

using Parts = std::array<const Linear*, 3>;

std::vector<std::string> LayersOf(const Parts& parts) {
  return {parts[0]->layer, parts[1]->layer, parts[2]->layer};
}

bool FitTogether(const Graph& graph, const Plan& plan, const Parts& parts) {
  return std::all_of(parts.begin(), parts.end(), [&](const Linear* part) {
    return IsInt8(plan, part) && part->input == parts[0]->input &&
           part->has_bias == parts[0]->has_bias && !part->residual &&
           part->activation == parts[0]->activation &&
           part->out_features % kernels::Int8Linear::ColumnStep() == 0 &&
           plan.find(part->layer)->second ==
               plan.find(parts[0]->layer)->second &&
           Uses(graph, part->output) == 1;
  });
}

Linear Stack(const Parts& parts, ValueId output) {
  Linear all = *parts[0];
  all.layer = absl::StrJoin(LayersOf(parts), "+");
  all.output = output;
  all.out_features = 0;
  for (const Linear* part : parts) {
    all.parts.push_back({part->layer, part->out_features});
    all.out_features += part->out_features;
  }
  return all;
}

// `all` in the place of the first part, none in that of the others.
std::vector<Operator> Replace(const std::vector<Operator>& operators,
                              const Linear& all) {
  std::vector<Operator> replaced;
  bool placed = false;
  for (const Operator& op : operators) {
    const auto* linear = std::get_if<Linear>(&op);
    const bool is_part =
        linear != nullptr &&
        std::any_of(all.parts.begin(), all.parts.end(), [&](const auto& part) {
          return part.layer == linear->layer;
        });
    if (!is_part) replaced.push_back(op);
    if (is_part && !std::exchange(placed, true)) replaced.emplace_back(all);
  }
  return replaced;
}

}  // namespace

void UseBf16Attention(Graph& graph, const Plan& plan) {
  for (Operator& op : graph.operators) {
    auto* attention = std::get_if<Attention>(&op);
    if (attention == nullptr) continue;
    if (IsInt8(plan, LinearThatWrites(graph, attention->query)) &&
        IsInt8(plan, LinearThatWrites(graph, attention->key)) &&
        IsInt8(plan, LinearThatWrites(graph, attention->value))) {
      attention->precision = kernels::AttentionPrecision::kBf16;
    }
  }
}

void FuseQkv(Graph& graph, const Plan& plan, const TensorSource& tensors) {
  for (size_t i = 0; i < graph.operators.size(); ++i) {
    auto* attention = std::get_if<Attention>(&graph.operators[i]);
    if (attention == nullptr) continue;
    const Parts parts = {LinearThatWrites(graph, attention->query),
                         LinearThatWrites(graph, attention->key),
                         LinearThatWrites(graph, attention->value)};
    if (!FitTogether(graph, plan, parts)) continue;
    const Linear all = Stack(parts, graph.widths.size());
    if (!StackedTensors::Create(tensors, all.layer, LayersOf(parts)).ok()) {
      continue;
    }
    attention->query = attention->key = attention->value = all.output;
    attention->key_column = all.parts[0].out_features;
    attention->value_column =
        all.parts[0].out_features + all.parts[1].out_features;
    graph.widths.push_back(all.out_features);
    graph.operators = Replace(graph.operators, all);
    i -= parts.size() - 1;
  }
}

void FuseNormQuantize(Graph& graph, const Plan& plan) {
  for (Operator& op : graph.operators) {
    auto* norm = std::get_if<LayerNorm>(&op);
    if (norm == nullptr) continue;
    const std::vector<Linear*> readers =
        ReadersOfCodes(graph, plan, norm->output);
    if (readers.empty()) continue;
    norm->codes = graph.widths.size();
    graph.widths.push_back(CodedValue::FloatsFor(graph.widths[norm->output]));
    for (Linear* reader : readers) {
      reader->input = *norm->codes;
      reader->takes_codes = true;
    }
  }
}

}  // namespace octet::model
