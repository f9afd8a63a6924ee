#include "server/model/graph.h"

namespace octet::model {

std::vector<const Linear*> Graph::Linears() const {
  std::vector<const Linear*> linears;
  for (const Operator& op : operators) {
    if (const auto* linear = std::get_if<Linear>(&op)) {
      linears.push_back(linear);
    }
  }
  return linears;
}

}  // namespace octet::model
