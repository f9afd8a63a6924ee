#include "server/quantization/search/evaluator.h"

#include <algorithm>
#include <map>
#include <utility>

#include "kernels/matrix_view.h"
#include "kernels/status_macros.h"
#include "server/quantization/methods/error_measures.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;
using model::ModelInput;

// Tokens run at once: 2048 x 4096 floats of one activation are 32 MiB.
constexpr size_t kTokensPerBatch = 2048;

struct LayerErrors {
  ErrorAccumulator errors;
  int64_t rows = 0;
};

// Runs each linear twice on the same rows: in float, and as the bundle has it.
class LayerComparison : public model::LinearObserver {
 public:
  LayerComparison(const model::Model& float_model,
                  const model::Model& quantized, const EvaluateOptions& options)
      : float_model_(float_model), quantized_(quantized), options_(options) {}

  absl::Status OnLinear(const model::Linear& linear, MatrixView<const float> x,
                        MatrixView<const float> /*y*/) override {
    return Compare(linear.layer, linear.out_features, x);
  }

  absl::Status Compare(const std::string& layer, size_t outputs,
                       MatrixView<const float> x) {
    if (options_.cancelled && options_.cancelled()) {
      return absl::CancelledError("the quantization was cancelled");
    }
    if (options_.on_layer) RETURN_IF_ERROR(options_.on_layer(layer));
    expected_.resize(x.rows * outputs);
    actual_.resize(x.rows * outputs);
    RETURN_IF_ERROR(Run(float_model_, layer, outputs, x, expected_));
    RETURN_IF_ERROR(Run(quantized_, layer, outputs, x, actual_));
    LayerErrors& errors = layers_[layer];
    errors.errors.Add(expected_, actual_);
    errors.rows += static_cast<int64_t>(x.rows);
    return absl::OkStatus();
  }

  void AddTo(bundle::QuantizationReport& report) const {
    for (bundle::LayerReport& layer : report.layers) {
      const auto found = layers_.find(layer.layer);
      if (found == layers_.end()) continue;
      layer.output = found->second.errors.Result();
      layer.output_rows = found->second.rows;
    }
  }

 private:
  absl::Status Run(const model::Model& model, const std::string& layer,
                   size_t outputs, MatrixView<const float> x,
                   std::vector<float>& y) const {
    ASSIGN_OR_RETURN(const model::LinearLayer* linear, model.FindLinear(layer));
    kernels::LinearCall call;
    call.pool = options_.pool;
    return linear->Run(x, {y.data(), x.rows, outputs}, call);
  }

  const model::Model& float_model_;
  const model::Model& quantized_;
  const EvaluateOptions& options_;
  std::map<std::string, LayerErrors, std::less<>> layers_;
  std::vector<float> expected_;
  std::vector<float> actual_;
};

// Errors of the model's output, and the cosine of every row of it.
class OutputComparison {
 public:
  void Add(const model::ModelOutput& expected,
           const model::ModelOutput& actual) {
    errors_.Add(expected.values, actual.values);
    for (size_t r = 0; r < expected.rows; ++r) {
      const size_t begin = r * expected.cols;
      const double cosine =
          Cosine({expected.values.data() + begin, expected.cols},
                 {actual.values.data() + begin, actual.cols});
      cosine_sum_ += cosine;
      worst_cosine_ = std::min(worst_cosine_, cosine);
    }
    rows_ += static_cast<int64_t>(expected.rows);
  }

  void AddTo(bundle::QuantizationReport& report) const {
    if (rows_ == 0) return;
    report.model = errors_.Result();
    report.mean_row_cosine = cosine_sum_ / static_cast<double>(rows_);
    report.worst_row_cosine = worst_cosine_;
    report.model_rows = rows_;
  }

 private:
  ErrorAccumulator errors_;
  double cosine_sum_ = 0.0;
  double worst_cosine_ = 1.0;
  int64_t rows_ = 0;
};

std::vector<ModelInput> TokenBatches(const ModelInput& kept) {
  std::vector<ModelInput> batches;
  size_t begin = 0;
  for (const int32_t length : kept.lengths) {
    if (batches.empty() ||
        batches.back().token_ids.size() + length > kTokensPerBatch) {
      batches.emplace_back();
    }
    ModelInput& batch = batches.back();
    batch.lengths.push_back(length);
    batch.token_ids.insert(batch.token_ids.end(),
                           kept.token_ids.begin() + begin,
                           kept.token_ids.begin() + begin + length);
    begin += length;
  }
  return batches;
}

// Layers whose own activations were given, in the graph's order.
std::vector<const model::Linear*> LayersWithRows(
    const model::Graph& graph, const Calibration& calibration) {
  std::vector<const model::Linear*> layers;
  for (const model::Linear* linear : graph.Linears()) {
    const CalibratedInput* input = calibration.Find(linear->layer);
    if (input != nullptr && input->named_rows > 0) {
      layers.push_back(linear);
    }
  }
  return layers;
}

// Rows that calibration kept of a layer's input, as the models have it.
std::vector<float> RowsOf(const CalibratedInput& input,
                          const std::string& layer,
                          const model::LayerFactors* folded_inputs) {
  const MatrixView<const float> x = input.rows.rows();
  std::vector<float> rows;
  rows.reserve(x.rows * x.cols);
  for (size_t i = 0; i < x.rows; ++i) {
    rows.insert(rows.end(), x.row(i), x.row(i) + x.cols);
  }
  if (folded_inputs == nullptr) return rows;
  const auto factors = folded_inputs->find(layer);
  if (factors == folded_inputs->end()) return rows;
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i] /= factors->second[i % x.cols];
  }
  return rows;
}

}  // namespace

std::vector<ModelInput> EvaluationBatches(const ModelInput& kept) {
  if (kept.feature_rows > 0) return {kept};
  return TokenBatches(kept);
}

size_t EvaluationSteps(const model::Graph& graph,
                       const Calibration& calibration) {
  return EvaluationBatches(calibration.MeasuredInputs()).size() *
             graph.Linears().size() +
         LayersWithRows(graph, calibration).size();
}

absl::Status Evaluate(const model::Model& float_model,
                      const model::Model& quantized,
                      const Calibration& calibration,
                      const EvaluateOptions& options,
                      bundle::QuantizationReport& report) {
  LayerComparison layers(float_model, quantized, options);
  OutputComparison outputs;
  model::RunOptions run;
  run.pool = options.pool;
  run.cancelled = options.cancelled;
  for (const ModelInput& batch :
       EvaluationBatches(calibration.MeasuredInputs())) {
    run.observer = &layers;
    ASSIGN_OR_RETURN(const model::ModelOutput expected,
                     float_model.Forward(batch, run));
    run.observer = nullptr;
    ASSIGN_OR_RETURN(const model::ModelOutput actual,
                     quantized.Forward(batch, run));
    outputs.Add(expected, actual);
  }
  for (const model::Linear* linear :
       LayersWithRows(float_model.graph(), calibration)) {
    const std::vector<float> rows = RowsOf(
        *calibration.Find(linear->layer), linear->layer, options.folded_inputs);
    const size_t columns = linear->in_features;
    RETURN_IF_ERROR(
        layers.Compare(linear->layer, linear->out_features,
                       {rows.data(), rows.size() / columns, columns}));
  }
  layers.AddTo(report);
  outputs.AddTo(report);
  return absl::OkStatus();
}

}  // namespace octet::quantization
