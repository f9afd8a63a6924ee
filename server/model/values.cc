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

std::optional<ValueId> CodesOf(const Operator& op) {
  const auto* norm = std::get_if<LayerNorm>(&op);
  return norm == nullptr ? std::nullopt : norm->codes;
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
    if (const auto codes = CodesOf(op)) touched.push_back(*codes);
    for (const ValueId id : touched) {
      if (!seen[id]) last[i].push_back(id);
      seen[id] = true;
    }
  }
  return last;
}

namespace {

constexpr size_t kLineFloats = 16;

bool WritesOverItsInput(const Operator& op) {
  return std::holds_alternative<LayerNorm>(op) ||
         std::holds_alternative<Normalize>(op);
}

// Hands out slots, wide ones to wide values.
class Slots {
 public:
  explicit Slots(ValueLayout& layout) : layout_(layout) {}

  // The narrowest free slot that is wide enough, or the widest, made wider.
  size_t Take(size_t width) {
    if (free_.empty()) {
      layout_.slot_widths.push_back(width);
      return layout_.slot_widths.size() - 1;
    }
    const auto best = std::min_element(
        free_.begin(), free_.end(),
        [&](size_t a, size_t b) { return Rank(a, width) < Rank(b, width); });
    const size_t slot = *best;
    free_.erase(best);
    layout_.slot_widths[slot] = std::max(layout_.slot_widths[slot], width);
    return slot;
  }
  void Give(size_t slot) { free_.push_back(slot); }

 private:
  std::pair<bool, size_t> Rank(size_t slot, size_t width) const {
    const size_t has = layout_.slot_widths[slot];
    return has >= width ? std::pair(false, has - width)
                        : std::pair(true, width - has);
  }

  ValueLayout& layout_;
  std::vector<size_t> free_;
};

size_t CountUpTo(const Graph& graph, ValueId wanted) {
  const auto writer =
      std::find_if(graph.operators.begin(), graph.operators.end(),
                   [&](const Operator& op) { return OutputOf(op) == wanted; });
  return writer == graph.operators.end()
             ? 0
             : static_cast<size_t>(writer - graph.operators.begin()) + 1;
}

}  // namespace

ValueLayout LayOutValues(const Graph& graph, ValueId wanted) {
  ValueLayout layout;
  layout.wanted = wanted;
  layout.operators = CountUpTo(graph, wanted);
  layout.slots.resize(graph.widths.size());
  const auto last_reads = LastReads(graph, layout.operators, wanted);
  std::vector<bool> per_sequence(graph.widths.size());
  Slots slots(layout);
  if (graph.input == InputKind::kFeatures) {
    layout.slots[0] = slots.Take(graph.widths[0]);
  }
  for (size_t i = 0; i < layout.operators; ++i) {
    const Operator& op = graph.operators[i];
    const ValueId output = OutputOf(op);
    const std::vector<ValueId> inputs = InputsOf(op);
    per_sequence[output] = std::holds_alternative<Pooling>(op) ||
                           (!inputs.empty() && per_sequence[inputs[0]]);
    std::vector<ValueId> released = last_reads[i];
    if (WritesOverItsInput(op)) {
      const auto over = std::find(released.begin(), released.end(), inputs[0]);
      if (over != released.end()) {
        layout.slots[output] = layout.slots[inputs[0]];
        released.erase(over);
      }
    }
    if (!layout.slots[output]) {
      layout.slots[output] = slots.Take(graph.widths[output]);
    }
    if (const auto codes = CodesOf(op)) {
      layout.slots[*codes] = slots.Take(graph.widths[*codes]);
    }
    for (const ValueId id : released) slots.Give(*layout.slots[id]);
  }
  layout.per_sequence = per_sequence[wanted];
  return layout;
}

CodedValue::CodedValue(kernels::MatrixView<float> room, size_t width)
    : codes(reinterpret_cast<uint8_t*>(room.data), room.rows, width),
      scales(room.data + (room.rows * width + 3) / 4, room.rows) {}

void Values::Reset(const Graph& graph, const ValueLayout& layout,
                   size_t max_rows) {
  const auto size = [&](size_t width) {
    return (max_rows * width + kLineFloats - 1) / kLineFloats * kLineFloats;
  };
  graph_ = &graph;
  layout_ = &layout;
  size_t floats = 0;
  for (const size_t width : layout.slot_widths) floats += size(width);
  buffer_.Reserve(floats * sizeof(float));
  auto* next = buffer_.As<float>();
  slots_.clear();
  for (const size_t width : layout.slot_widths) {
    slots_.push_back(next);
    next += size(width);
  }
  views_.assign(graph.widths.size(), {});
  placed_.reset();
}

void Values::Borrow(ValueId id, kernels::MatrixView<const float> from) {
  // No operator writes to a value that another one made.
  views_[id] = {const_cast<float*>(from.data), from.rows, from.cols,
                from.stride};
}

void Values::PlaceAt(ValueId id, kernels::MatrixView<float> to) {
  views_[id] = to;
  placed_ = id;
}

kernels::MatrixView<float> Values::Make(ValueId id, size_t rows) {
  if (placed_ == id) return views_[id];
  views_[id] = {slots_[*layout_->slots[id]], rows, graph_->widths[id]};
  return views_[id];
}

}  // namespace octet::model
