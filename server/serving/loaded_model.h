// One loaded version of one model, and what it has done.

#ifndef OCTET_SERVER_SERVING_LOADED_MODEL_H_
#define OCTET_SERVER_SERVING_LOADED_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "kernels/phase_clock.h"
#include "server/model/graph.h"
#include "server/model/model.h"
#include "server/serving/fetched_rows.h"
#include "server/serving/product.h"
#include "server/serving/watcher.h"
#include "server/telemetry/metrics.h"

namespace octet::serving {

struct ModelStats {
  int64_t forward_count = 0;
  int64_t matmul_count = 0;
  int64_t row_count = 0;
  kernels::PhaseTimes times;

  ModelStats& operator+=(const ModelStats& other);
};

// Immutable but for its counts; safe to use from many threads.
class LoadedModel : public std::enable_shared_from_this<LoadedModel> {
 public:
  // `watcher`, which may be nullptr, gets to see what `watch` asks for.
  LoadedModel(std::string id, std::string source, int64_t version,
              std::unique_ptr<const model::Model> model,
              telemetry::Metrics* metrics, Watch watch = {},
              Watcher* watcher = nullptr);

  const std::string& id() const { return id_; }
  const std::string& source() const { return source_; }  // "bundles/x"
  int64_t version() const { return version_; }
  absl::Time load_time() const { return load_time_; }
  const model::Model& model() const { return *model_; }
  const Watch& watch() const { return watch_; }
  std::string isa() const;  // of its INT8 layers; "" without any
  // Whether an output has a row for each sequence, not for each token.
  bool PoolsSequences(model::OutputKind output) const {
    return output == model::OutputKind::kOutput && pools_sequences_;
  }
  size_t input_shape() const { return input_shape_; }  // live_input.h
  // Of all linears, for one row: what a row costs compared with other models'.
  uint64_t multiply_adds_per_row() const { return multiply_adds_per_row_; }
  // Of a product of that many input values with a layer; 0 for unknown ones.
  uint64_t MultiplyAdds(std::string_view layer, size_t values) const;
  // What an answer to so many rows takes, in FP32, before it is computed; rows
  // of tokens are those of `sequences`.
  uint64_t OutputBytes(size_t rows, size_t sequences,
                       model::OutputKind output) const;
  // The same of a product of that many rows; 0 for unknown layers.
  uint64_t OutputBytes(std::string_view layer, size_t rows) const;
  // Whether x of a product has the layer's width: INVALID_ARGUMENT as MatMul.
  // OK for unknown layers.
  absl::Status CheckWidth(std::string_view layer, size_t cols) const;

  // Runs rows of several requests, of which `requests` end here, to where each
  // has its output (Model::ForwardInto), and counts them. `times` is added the
  // sum of the phases; `options.times` must be nullptr or empty. What a
  // request's metrics say of stages is the caller's.
  absl::Status ForwardBatch(
      const model::ModelInputView& input, size_t requests,
      model::RunOptions options,
      absl::Span<const kernels::MatrixView<float>> outputs,
      kernels::PhaseTimes* times) const;
  // x [M, K] -> y [M, N]. NOT_FOUND names the layer; INVALID_ARGUMENT opens
  // with the field, "x: " for a width, "x[1][2]: " for a non-finite value.
  // RESOURCE_EXHAUSTED without memory; errors of x.fetch. Exports the stages of
  // compute; `times`, if given, is set.
  absl::StatusOr<model::ModelOutput> MatMul(std::string_view layer,
                                            const FetchedRows& x,
                                            const MatMulOptions& options,
                                            MatMulTimes* times) const;

  ModelStats stats() const;

 private:
  // Adds `call`, which took `compute` and whose phases are in `by_kind`.
  // Returns their sum.
  kernels::PhaseTimes Count(ModelStats call,
                            const model::LayerKindTimes& by_kind,
                            absl::Duration compute) const;
  void ExportStages(absl::Duration compute,
                    const kernels::PhaseTimes& times) const;

  const std::string id_;
  const std::string source_;
  const int64_t version_;
  const absl::Time load_time_;
  const std::unique_ptr<const model::Model> model_;
  telemetry::Metrics* const metrics_;
  const Watch watch_;
  Watcher* const watcher_;
  std::map<std::string, const model::Linear*, std::less<>> linears_;
  bool pools_sequences_ = false;
  size_t input_shape_ = 0;
  uint64_t multiply_adds_per_row_ = 0;
  mutable std::mutex mutex_;
  mutable ModelStats stats_;  // guarded by mutex_
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_LOADED_MODEL_H_
