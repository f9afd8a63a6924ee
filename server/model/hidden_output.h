// A model's output from its hidden states, for those who want both: behind the
// hidden states stand pooling and normalization alone, sequence by sequence, so
// that this gives the bits that Forward would.

#ifndef OCTET_SERVER_MODEL_HIDDEN_OUTPUT_H_
#define OCTET_SERVER_MODEL_HIDDEN_OUTPUT_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/model/graph.h"
#include "server/model/model.h"

namespace octet::model {

// Whether the output is another value than the hidden states.
bool HasHiddenOutput(const Graph& graph);

// `hidden` is what Forward gave for OutputKind::kHidden and sequences of these
// lengths. INTERNAL when the graph has other operators behind it.
absl::StatusOr<ModelOutput> OutputOfHidden(const Graph& graph,
                                           const ModelOutput& hidden,
                                           absl::Span<const int32_t> lengths);

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_HIDDEN_OUTPUT_H_
