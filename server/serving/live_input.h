// What a request asked of a model, copied out of the request's way.

#ifndef OCTET_SERVER_SERVING_LIVE_INPUT_H_
#define OCTET_SERVER_SERVING_LIVE_INPUT_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/matrix_view.h"
#include "server/model/graph.h"
#include "server/model/model.h"
#include "server/serving/fetched_rows.h"

namespace octet::serving {

// Bytes and samples (sequences, feature rows, rows of a layer) that a copy
// would have.
struct InputSize {
  size_t bytes = 0;
  size_t samples = 0;
};
InputSize SizeOf(const model::ModelInputView& input);
InputSize SizeOf(const FetchedRows& rows);

struct LiveInput {
  model::ModelInput inputs;  // of the whole model; or
  std::string layer;         // of this linear alone,
  std::vector<float> values;
  size_t columns = 0;

  static LiveInput Of(const model::ModelInputView& input);
  static absl::StatusOr<LiveInput> Of(const model::Linear& linear,
                                      const FetchedRows& rows);

  kernels::MatrixView<const float> rows() const;  // of the layer

  size_t samples() const;
  void KeepFirst(size_t samples);  // at most as many as there are
};

// Equal where inputs of one model, and of its layers, are inputs of the other.
size_t InputShape(const model::Graph& graph);

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_LIVE_INPUT_H_
