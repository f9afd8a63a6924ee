// Linears that read the same value (q, k and v; gate and up): what is learnt of
// their input, or done to it, is one thing for all of them.

#ifndef OCTET_SERVER_QUANTIZATION_CALIBRATION_INPUT_GROUPS_H_
#define OCTET_SERVER_QUANTIZATION_CALIBRATION_INPUT_GROUPS_H_

#include <vector>

#include "server/model/graph.h"

namespace octet::quantization {

// At least one linear, in execution order.
using InputGroup = std::vector<const model::Linear*>;

// All linears of the graph, groups in order of their first linear. The linears
// of a linear_set have nothing to do with each other: each is a group.
std::vector<InputGroup> GroupByInput(const model::Graph& graph);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_CALIBRATION_INPUT_GROUPS_H_
