// The values of one run: a float matrix each, written by one operator and
// given up after the last that reads it. Where each of them lies is known once
// the graph is: all share one buffer, whose size follows from the rows.

#ifndef OCTET_SERVER_MODEL_VALUES_H_
#define OCTET_SERVER_MODEL_VALUES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "kernels/aligned_buffer.h"
#include "kernels/matrix_view.h"
#include "server/model/graph.h"

namespace octet::model {

// What an operator reads and what it writes.
std::vector<ValueId> InputsOf(const Operator& op);
ValueId OutputOf(const Operator& op);
std::optional<ValueId> CodesOf(const Operator& op);  // written beside it

// For each operator, the values that nobody reads after it. `kept` never is.
std::vector<std::vector<ValueId>> LastReads(const Graph& graph, size_t count,
                                            ValueId kept);

// Operators up to the one that writes `wanted`, and the slot of each value that
// they touch. A norm writes over its input if nobody else reads that.
struct ValueLayout {
  ValueId wanted = 0;
  bool per_sequence = false;  // `wanted` has a row per sequence, not per token
  size_t operators = 0;
  std::vector<std::optional<size_t>> slots;  // of each value
  std::vector<size_t> slot_widths;           // floats in a row
};

ValueLayout LayOutValues(const Graph& graph, ValueId wanted);

// A value of u8 codes and a scale per row, in the room of floats.
struct CodedValue {
  // Floats in a row, for `width` codes.
  static size_t FloatsFor(size_t width) { return (width + 3) / 4 + 1; }

  CodedValue(kernels::MatrixView<float> room, size_t width);

  kernels::MatrixView<uint8_t> codes;
  absl::Span<float> scales;
};

// The matrices of a run, and of others after it: memory grows to the largest.
class Values {
 public:
  // For a new run, in which no value has more than `max_rows` rows. The layout
  // must outlive it.
  void Reset(const Graph& graph, const ValueLayout& layout, size_t max_rows);

  // Values of the run that lie where somebody else has them: one that is only
  // read, and one that is made there.
  void Borrow(ValueId id, kernels::MatrixView<const float> from);
  void PlaceAt(ValueId id, kernels::MatrixView<float> to);

  // Contents undefined.
  kernels::MatrixView<float> Make(ValueId id, size_t rows);
  kernels::MatrixView<float> at(ValueId id) const { return views_[id]; }
  size_t bytes() const { return buffer_.size(); }

 private:
  const Graph* graph_ = nullptr;
  const ValueLayout* layout_ = nullptr;
  kernels::AlignedBuffer buffer_;
  std::vector<float*> slots_;
  std::vector<kernels::MatrixView<float>> views_;
  std::optional<ValueId> placed_;  // its view is set before it is made
};

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_VALUES_H_
