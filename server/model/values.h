// The values of one run: a float matrix each, written by one operator and
// given up after the last that reads it, so that memory is used again.

#ifndef OCTET_SERVER_MODEL_VALUES_H_
#define OCTET_SERVER_MODEL_VALUES_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "kernels/matrix_view.h"
#include "server/model/graph.h"

namespace octet::model {

// What an operator reads and the one value it writes.
std::vector<ValueId> InputsOf(const Operator& op);
ValueId OutputOf(const Operator& op);

// For each operator, the values that nobody reads after it. `kept` never is.
std::vector<std::vector<ValueId>> LastReads(const Graph& graph, size_t count,
                                            ValueId kept);

class Values {
 public:
  explicit Values(size_t count) : values_(count) {}

  // A new matrix for `id`, its contents undefined, in a released buffer if one
  // is large enough.
  kernels::MatrixView<float> Make(ValueId id, size_t rows, size_t cols);
  kernels::MatrixView<float> at(ValueId id) const { return values_[id].view; }
  void Release(ValueId id);

 private:
  struct Value {
    std::vector<float> buffer;
    kernels::MatrixView<float> view;
  };

  std::vector<Value> values_;
  std::vector<std::vector<float>> free_;
};

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_VALUES_H_
