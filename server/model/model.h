// A graph with its weights packed: what Forward and MatMul run on. Immutable
// after Create, safe to use from many threads.

#ifndef OCTET_SERVER_MODEL_MODEL_H_
#define OCTET_SERVER_MODEL_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/aligned_vector.h"
#include "kernels/matrix_view.h"
#include "kernels/phase_clock.h"
#include "kernels/thread_pool.h"
#include "server/model/graph.h"
#include "server/model/linear_layer.h"
#include "server/model/scheme.h"
#include "server/model/tensor.h"

namespace octet::model {

// What Forward takes: ragged token sequences, or float rows.
struct ModelInput {
  std::vector<int32_t> token_ids;  // all sequences, one after the other
  std::vector<int32_t> lengths;    // tokens of each sequence, each >= 1
  std::vector<float> features;     // [feature_rows, input width]
  size_t feature_rows = 0;

  size_t rows() const;  // tokens, or feature rows
};

// The same in memory that somebody else holds.
struct ModelInputView {
  absl::Span<const int32_t> token_ids;
  absl::Span<const int32_t> lengths;
  absl::Span<const float> features;
  size_t feature_rows = 0;

  ModelInputView() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): as spans are of vectors.
  ModelInputView(const ModelInput& input);

  size_t rows() const;
  ModelInput Copy() const;
};

struct ModelOutput {
  kernels::AlignedVector<float> values;  // [rows, cols]
  size_t rows = 0;
  size_t cols = 0;

  // Its values have none yet.
  static ModelOutput Uninitialized(size_t rows, size_t cols);

  kernels::MatrixView<const float> view() const {
    return {values.data(), rows, cols};
  }
  kernels::MatrixView<float> view() { return {values.data(), rows, cols}; }
};

enum class OutputKind : uint8_t {
  kOutput,  // the graph's own output (pooled, normalized where configured)
  kHidden,  // one row per token, before pooling
};

// What rows an output has.
struct OutputForm {
  bool per_sequence = false;  // one for each sequence, not for each token
  size_t cols = 0;
};

// Sees every linear's input and output while a model runs. Calls arrive in
// execution order on the calling thread. An error stops the run.
class LinearObserver {
 public:
  virtual ~LinearObserver() = default;
  virtual absl::Status OnLinear(const Linear& linear,
                                kernels::MatrixView<const float> x,
                                kernels::MatrixView<const float> y) = 0;
};

// Phase times of quantized linears, by kind of layer ("output.dense"), so that
// the number of series does not grow with depth.
using LayerKindTimes = std::map<std::string, kernels::PhaseTimes, std::less<>>;

// Linears to run in place of the model's own, by name. They outlive the run.
using LinearSubstitutes =
    std::map<std::string, const LinearLayer*, std::less<>>;

struct RunOptions {
  OutputKind output = OutputKind::kOutput;
  kernels::ThreadPool* pool = nullptr;
  LinearObserver* observer = nullptr;
  LayerKindTimes* times = nullptr;
  // What would the model say if these layers were quantized so?
  const LinearSubstitutes* substitutes = nullptr;
  // Asked between operators, by any thread of the pool; CANCELLED when it says
  // true.
  std::function<bool()> cancelled;
  // Lets NaN and infinities in features pass: their rows come out as NaN.
  bool allow_non_finite = false;
};

class Model {
 public:
  // `plan` says the scheme of each linear; tensors are those of linear_layer.h.
  static absl::StatusOr<std::unique_ptr<const Model>> Create(
      Graph graph, const TensorSource& tensors, const Plan& plan,
      const LinearOptions& options = {});
  ~Model();

  // Errors: INVALID_ARGUMENT naming field, index and limit (token id out of
  // the vocabulary, sequence too long or empty, wrong width, non-finite value);
  // FAILED_PRECONDITION for a linear_set, which has no forward.
  absl::StatusOr<ModelOutput> Forward(const ModelInputView& input,
                                      const RunOptions& options) const;

  // The same, to where the caller wants it: the output's rows fill one matrix
  // after the other. After an error there is anything in them.
  absl::Status ForwardInto(
      const ModelInputView& input, const RunOptions& options,
      absl::Span<const kernels::MatrixView<float>> outputs) const;

  // FAILED_PRECONDITION when there is no such output.
  absl::StatusOr<OutputForm> FormOf(OutputKind output) const;

  // NOT_FOUND lists layers that come close.
  absl::StatusOr<const LinearLayer*> FindLinear(std::string_view layer) const;

  const Graph& graph() const;
  const Plan& plan() const;
  size_t resident_bytes() const;

 private:
  class Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Checks an input against the graph, with the errors Forward documents.
absl::Status ValidateInput(const Graph& graph, const ModelInputView& input,
                           bool allow_non_finite = false);

// The part of it that looks at values: `rows` are those of an input from
// `first_row` on.
absl::Status CheckFinite(kernels::MatrixView<const float> rows,
                         size_t first_row = 0);

// "encoder.layer.3.output.dense" -> "output.dense": what comes after the last
// number, or the whole name. Numbers at the end count for nothing: "net.2" is
// of kind "net".
std::string LayerKind(std::string_view layer);

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_MODEL_H_
