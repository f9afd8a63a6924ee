// Runs a graph over one batch, operator by operator.

#ifndef OCTET_SERVER_MODEL_EXECUTOR_H_
#define OCTET_SERVER_MODEL_EXECUTOR_H_

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "server/model/graph.h"
#include "server/model/linear_layer.h"
#include "server/model/model.h"
#include "server/model/operators.h"
#include "server/model/values.h"
#include "server/model/workspaces.h"

namespace octet::model {

using LinearLayers =
    std::map<std::string, std::unique_ptr<LinearLayer>, std::less<>>;

class Executor {
 public:
  // All three must outlive the executor and stay as they are.
  Executor(const Graph& graph, const LinearLayers& linears,
           const Parameters& parameters);

  // `input` has passed ValidateInput for this graph. Nothing is allocated that
  // an earlier run of this size has left behind, but for the output.
  absl::StatusOr<ModelOutput> Run(const ModelInput& input,
                                  const RunOptions& options) const;

 private:
  class Pass;

  absl::StatusOr<ModelOutput> RunLayout(const ValueLayout& layout,
                                        const ModelInput& input,
                                        const RunOptions& options) const;

  const Graph& graph_;
  const LinearLayers& linears_;
  const Parameters& parameters_;
  std::optional<ValueLayout> output_;
  std::optional<ValueLayout> hidden_;
  mutable Workspaces workspaces_;
};

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_EXECUTOR_H_
