#include "server/quantization/calibration/input_groups.h"

#include <cstddef>
#include <map>

namespace octet::quantization {

std::vector<InputGroup> GroupByInput(const model::Graph& graph) {
  const bool shares = graph.input != model::InputKind::kNone;
  std::vector<InputGroup> groups;
  std::map<model::ValueId, size_t> group_of;
  for (const model::Linear* linear : graph.Linears()) {
    const auto [found, is_new] =
        group_of.try_emplace(linear->input, groups.size());
    if (is_new || !shares) {
      groups.push_back({linear});
    } else {
      groups[found->second].push_back(linear);
    }
  }
  return groups;
}

}  // namespace octet::quantization
