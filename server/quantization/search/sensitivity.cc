#include "server/quantization/search/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/status_macros.h"
#include "server/quantization/methods/error_measures.h"

namespace octet::quantization {

Harm Compare(const std::vector<model::ModelOutput>& expected,
             const std::vector<model::ModelOutput>& actual) {
  Harm harm;
  double sum = 0.0;
  double sum_squares = 0.0;
  double error = 0.0;
  double size = 0.0;
  for (size_t b = 0; b < expected.size(); ++b) {
    const model::ModelOutput& y = expected[b];
    for (size_t i = 0; i < y.values.size(); ++i) {
      const double difference =
          double{y.values[i]} - double{actual[b].values[i]};
      error += difference * difference;
      size += double{y.values[i]} * double{y.values[i]};
    }
    for (size_t r = 0; r < y.rows; ++r) {
      const double cosine =
          Cosine({y.values.data() + r * y.cols, y.cols},
                 {actual[b].values.data() + r * y.cols, y.cols});
      sum += 1.0 - cosine;
      sum_squares += (1.0 - cosine) * (1.0 - cosine);
      harm.worst_cosine = std::min(harm.worst_cosine, cosine);
    }
    harm.rows += y.rows;
  }
  if (harm.rows == 0) return harm;
  const auto rows = static_cast<double>(harm.rows);
  harm.mean_cosine_loss = sum / rows;
  if (harm.rows > 1) {
    const double variance =
        std::max(0.0, sum_squares / rows -
                          harm.mean_cosine_loss * harm.mean_cosine_loss) *
        rows / (rows - 1.0);
    harm.cosine_loss_error = std::sqrt(variance / rows);
  }
  harm.relative_square = size > 0.0 ? error / size : (error > 0.0 ? 1.0 : 0.0);
  return harm;
}

absl::StatusOr<std::vector<model::ModelOutput>> RunBatches(
    const model::Model& model, const std::vector<model::ModelInput>& batches,
    const model::LinearSubstitutes* substitutes, kernels::ThreadPool* pool,
    const std::function<bool()>& cancelled) {
  model::RunOptions options;
  options.pool = pool;
  options.substitutes = substitutes;
  options.cancelled = cancelled;
  std::vector<model::ModelOutput> outputs;
  for (const model::ModelInput& batch : batches) {
    ASSIGN_OR_RETURN(model::ModelOutput output, model.Forward(batch, options));
    outputs.push_back(std::move(output));
  }
  return outputs;
}

}  // namespace octet::quantization
