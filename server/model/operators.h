// The operators other than linears: their parameters, and how each runs.

#ifndef OCTET_SERVER_MODEL_OPERATORS_H_
#define OCTET_SERVER_MODEL_OPERATORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/model/graph.h"
#include "server/model/tensor.h"

namespace octet::model {

struct LayerNormParameters {
  std::vector<float> weight;
  std::vector<float> bias;
};

// Tables and norms by the names the graph uses; the types table is its row 0.
class Parameters {
 public:
  absl::Status Load(const Embedding& op, size_t width, const Graph& graph,
                    const TensorSource& tensors);
  absl::Status Load(const LayerNorm& op, size_t width,
                    const TensorSource& tensors);

  absl::Span<const float> table(std::string_view name) const;
  const LayerNormParameters& norm(std::string_view layer) const;
  size_t bytes() const;

 private:
  std::map<std::string, std::vector<float>, std::less<>> tables_;
  std::map<std::string, LayerNormParameters, std::less<>> norms_;
};

void Embed(const Embedding& op, const Parameters& parameters,
           absl::Span<const int32_t> token_ids,
           absl::Span<const int32_t> lengths, kernels::MatrixView<float> out);

void PoolSequences(PoolingMode mode, kernels::MatrixView<const float> x,
                   absl::Span<const int32_t> lengths,
                   kernels::MatrixView<float> y);

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_OPERATORS_H_
