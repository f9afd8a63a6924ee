// config.json for engines that read the compressed-tensors format.
//
// A plan whose INT8 linears all have one scheme, w8a8_dynamic or w8a8_static,
// is one `config_groups` entry over all "Linear" modules, with the float ones
// in `ignore`; `torch_dtype` is float32, which is what Octet computes in
// between the linears. Anything else can not be said:
//   - no INT8 linear: config.json stays that of a float checkpoint;
//   - two INT8 schemes in one plan: engines take activations from one group;
//   - llm_int8: the format has no outlier columns;
//   - inputs that are rotated, or smoothed where nothing before them could do
//     it, scales per group.
//
// https://github.com/neuralmagic/compressed-tensors

#ifndef OCTET_SERVER_BUNDLE_COMPRESSED_TENSORS_H_
#define OCTET_SERVER_BUNDLE_COMPRESSED_TENSORS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/graph.h"
#include "server/model/scheme.h"
#include "server/model/tensor.h"

namespace octet::bundle {

struct CompressedTensorsConfig {
  std::string config_json;  // with quantization_config, or as it was given
  std::string why_not;      // empty when config_json says the plan
};

// `linears` names every linear of the checkpoint, those that the graph does
// not run included (a pooler that sentence embedding leaves out): the "Linear"
// target means them too. INVALID_ARGUMENT when config.json is not an object, or
// says already that the checkpoint is quantized.
absl::StatusOr<CompressedTensorsConfig> DescribeAsCompressedTensors(
    std::string_view config_json, const std::vector<std::string>& linears,
    const model::Plan& plan);

// P of every 2-D "P.weight" that is not a table of one of `graph`'s
// embeddings, sorted.
std::vector<std::string> CheckpointLinears(const model::Graph& graph,
                                           const model::TensorSource& tensors);

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_COMPRESSED_TENSORS_H_
