#include "server/model/graph_passes.h"

#include <algorithm>

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

}  // namespace octet::model
