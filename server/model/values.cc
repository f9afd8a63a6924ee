#include "server/model/values.h"

#include <algorithm>
#include <utility>

namespace octet::model {
namespace {

struct InputsVisitor {
  std::vector<ValueId> operator()(const Embedding& /*op*/) const { return {}; }
  std::vector<ValueId> operator()(const Linear& op) const {
    if (op.residual) return {op.input, *op.residual};
    return {op.input};
  }
  std::vector<ValueId> operator()(const Attention& op) const {
    return {op.query, op.key, op.value};
  }
  std::vector<ValueId> operator()(const auto& op) const { return {op.input}; }
};

}  // namespace

std::vector<ValueId> InputsOf(const Operator& op) {
  return std::visit(InputsVisitor(), op);
}

ValueId OutputOf(const Operator& op) {
  return std::visit([](const auto& o) { return o.output; }, op);
}

std::vector<std::vector<ValueId>> LastReads(const Graph& graph, size_t count,
                                            ValueId kept) {
  std::vector<bool> seen(graph.widths.size());
  seen[kept] = true;
  std::vector<std::vector<ValueId>> last(count);
  for (size_t i = count; i-- > 0;) {
    const Operator& op = graph.operators[i];
    std::vector<ValueId> touched = InputsOf(op);
    touched.push_back(OutputOf(op));
    for (const ValueId id : touched) {
      if (!seen[id]) last[i].push_back(id);
      seen[id] = true;
    }
  }
  return last;
}

kernels::MatrixView<float> Values::Make(ValueId id, size_t rows, size_t cols) {
  const size_t size = rows * cols;
  // The smallest that fits: a wide value must not find its buffer taken by a
  // narrow one.
  auto best = free_.end();
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->size() >= size &&
        (best == free_.end() || it->size() < best->size())) {
      best = it;
    }
  }
  Value& value = values_[id];
  if (best != free_.end()) {
    value.buffer = std::move(*best);
    free_.erase(best);
  } else {
    value.buffer.resize(size);
  }
  value.view = {value.buffer.data(), rows, cols};
  return value.view;
}

void Values::Release(ValueId id) {
  if (!values_[id].buffer.empty()) {
    free_.push_back(std::move(values_[id].buffer));
  }
  values_[id] = {};
}

}  // namespace octet::model
