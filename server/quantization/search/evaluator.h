// What quantization did to a model, on samples that calibration kept: those
// that are held out from what plans are fitted to (hold_out.h), where there are
// any. Activations of named layers came without samples, and are the rows that
// were fitted to.
//
//   per layer    each linear alone is computed with its bundle weights, on the
//                float model's own inputs, and compared with the float linear
//   whole model  the output of the bundle against that of the float model

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_EVALUATOR_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_EVALUATOR_H_

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kernels/thread_pool.h"
#include "server/bundle/report.h"
#include "server/model/fold_smoothing.h"
#include "server/model/model.h"
#include "server/quantization/calibration/calibration.h"

namespace octet::quantization {

struct EvaluateOptions {
  kernels::ThreadPool* pool = nullptr;
  std::function<bool()> cancelled;  // may be empty
  // Called before each layer is measured; an error stops the evaluation.
  std::function<absl::Status(const std::string& layer)> on_layer;
  // By layer: what its input comes divided by, in both models; or nullptr.
  // Calibration saw it as it was before.
  const model::LayerFactors* folded_inputs = nullptr;
};

// Inputs in pieces of bounded size, in order; none of no samples.
std::vector<model::ModelInput> EvaluationBatches(const model::ModelInput& kept);

// How often `on_layer` will be called.
size_t EvaluationSteps(const model::Graph& graph,
                       const Calibration& calibration);

// Fills in `output` and `output_rows` of the report's layers, and the fields
// about the whole model. What calibration kept nothing for stays as it is.
absl::Status Evaluate(const model::Model& float_model,
                      const model::Model& quantized,
                      const Calibration& calibration,
                      const EvaluateOptions& options,
                      bundle::QuantizationReport& report);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_EVALUATOR_H_
