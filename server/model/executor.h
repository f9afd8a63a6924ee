// Runs a graph over one batch, operator by operator.

#ifndef OCTET_SERVER_MODEL_EXECUTOR_H_
#define OCTET_SERVER_MODEL_EXECUTOR_H_

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/model/graph.h"
#include "server/model/linear_layer.h"
#include "server/model/model.h"
#include "server/model/operators.h"

namespace octet::model {

using LinearLayers =
    std::map<std::string, std::unique_ptr<LinearLayer>, std::less<>>;

// `input` has passed ValidateInput for this graph.
absl::StatusOr<ModelOutput> Execute(const Graph& graph,
                                    const LinearLayers& linears,
                                    const Parameters& parameters,
                                    const ModelInput& input,
                                    const RunOptions& options);

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_EXECUTOR_H_
