// Padded batches to the ragged ones that models take, and back.
//
//   input_ids [B, S], attention_mask [B, S] of 1s and then 0s
//     -> the ids under 1s, sequence after sequence
//   rows of the tokens -> last_hidden_state [B, S, H], zeros under 0s
//
// Padding is stripped on arrival, so that it costs nothing and changes nothing.
// It has to be at the end: a token's position is where it stands.

#ifndef OCTET_SERVER_RPC_OIP_PADDING_H_
#define OCTET_SERVER_RPC_OIP_PADDING_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/aligned_vector.h"
#include "server/model/graph.h"
#include "server/model/model.h"
#include "server/rpc/oip/inputs.h"

namespace octet::rpc::oip {

struct PaddedBatch {
  model::ModelInput input;
  size_t sequences = 0;  // B
  size_t width = 0;      // S
};

// Without a mask every id counts. Errors: INVALID_ARGUMENT naming the tensor
// and the element: "input_ids[2][7]: is 40000; ...".
absl::StatusOr<PaddedBatch> DecodeTokens(const InputTensors& inputs,
                                         const model::Graph& graph);

// [B, S, H]; the rows themselves where there is no padding.
kernels::AlignedVector<float> PadRows(model::ModelOutput rows,
                                      absl::Span<const int32_t> lengths,
                                      size_t width);

}  // namespace octet::rpc::oip

#endif  // OCTET_SERVER_RPC_OIP_PADDING_H_
