// Runs a graph over one batch, operator by operator.

#ifndef OCTET_SERVER_MODEL_EXECUTOR_H_
#define OCTET_SERVER_MODEL_EXECUTOR_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "kernels/quantize_rows.h"
#include "server/model/graph.h"
#include "server/model/linear_layer.h"
#include "server/model/model.h"
#include "server/model/operators.h"
#include "server/model/values.h"
#include "server/model/workspaces.h"

namespace octet::model {

class Executor {
 public:
  using FindLayer = absl::FunctionRef<const LinearLayer*(std::string_view)>;

  // All must outlive the executor and stay as they are. `find` knows each
  // linear of the graph by its name.
  Executor(const Graph& graph, FindLayer find, const Parameters& parameters);

  // FAILED_PRECONDITION when there is no such output.
  absl::StatusOr<OutputForm> FormOf(OutputKind output) const;

  // `input` has passed ValidateInput for this graph, and is read where it is;
  // the output's rows fill one of `outputs` after the other, in place where a
  // chunk's rows are all of one of them. Nothing is allocated that an earlier
  // run of this size has left behind (but for what oneDNN allocates in float
  // layers).
  absl::Status Run(const ModelInputView& input, const RunOptions& options,
                   absl::Span<const kernels::MatrixView<float>> outputs) const;

 private:
  class Pass;

  // What time counts for: so many columns of a kind of layer.
  struct Share {
    size_t kind;
    size_t columns;
  };
  struct Prepared {
    const LinearLayer* layer = nullptr;          // of a linear
    const kernels::RowCoding* coding = nullptr;  // of a norm that writes codes
    std::vector<Share> shares;
  };

  size_t KindOf(std::string_view layer);
  void Prepare(const Linear& op, Prepared& prepared);
  void PrepareNorm(const LayerNorm& op, FindLayer find, Prepared& prepared);
  absl::StatusOr<const ValueLayout*> LayoutOf(OutputKind output) const;

  const Graph& graph_;
  const Parameters& parameters_;
  std::vector<Prepared> prepared_;  // of each operator
  std::vector<std::string> kinds_;
  std::map<std::string, size_t> kind_numbers_;  // in kinds_
  std::optional<ValueLayout> output_;
  std::optional<ValueLayout> hidden_;
  mutable Workspaces workspaces_;
};

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_EXECUTOR_H_
