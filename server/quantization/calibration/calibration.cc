#include "server/quantization/calibration/calibration.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "kernels/finite.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/fingerprint.h"
#include "server/quantization/calibration/input_groups.h"
#include "server/quantization/calibration/sample_keys.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;
using model::Linear;
using model::ModelInput;

absl::Status CheckFiniteInput(std::string_view layer,
                              MatrixView<const float> x) {
  for (size_t r = 0; r < x.rows; ++r) {
    const auto bad = kernels::FirstNonFinite({x.row(r), x.cols});
    if (!bad.has_value()) continue;
    return absl::InvalidArgumentError(absl::StrFormat(
        "the input of layer '%s' is NaN or infinite at index [%d, %d]", layer,
        r, *bad));
  }
  return absl::OkStatus();
}

// Rows each input may keep: a function of the graph and the options, so that
// every replica keeps the same.
size_t RowCapacity(const std::vector<InputGroup>& groups,
                   const CalibrationOptions& options) {
  size_t columns = 0;
  for (const InputGroup& group : groups) columns += group[0]->in_features;
  const size_t fit = kKeptRowsBytes / (std::max<size_t>(columns, 1) * 4);
  return std::min(options.rows, std::max(fit, kFewestKeptRows));
}

CalibratedInput NewInput(const InputGroup& group, size_t row_capacity) {
  CalibratedInput input;
  for (const Linear* linear : group) input.layers.push_back(linear->layer);
  const size_t columns = group[0]->in_features;
  input.statistics = LayerStatistics(columns);
  input.rows = RowReservoir(row_capacity, columns);
  return input;
}

absl::Status CheckFitsInto(const CalibratedInput& from,
                           const Calibration& into) {
  const std::string& layer = from.layers[0];
  const auto found = into.inputs.find(layer);
  if (found == into.inputs.end()) return absl::OkStatus();
  const size_t columns = found->second.statistics.columns();
  if (from.statistics.columns() != columns) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "layer '%s' has %d inputs here; the calibration has seen %d", layer,
        from.statistics.columns(), columns));
  }
  if (from.layers != found->second.layers) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "layer '%s' shares its input with other layers here than in the "
        "calibration",
        layer));
  }
  return absl::OkStatus();
}

// Nothing is added unless everything fits.
absl::Status AddInputs(
    const std::map<std::string, CalibratedInput, std::less<>>& inputs,
    Calibration& into) {
  for (const auto& [name, input] : inputs) {
    RETURN_IF_ERROR(CheckFitsInto(input, into));
  }
  for (const auto& [name, input] : inputs) {
    const auto [found, is_new] = into.inputs.try_emplace(name, input);
    if (is_new) continue;
    CalibratedInput& known = found->second;
    RETURN_IF_ERROR(known.statistics.Merge(input.statistics));
    known.rows.Merge(input.rows);
    known.named_rows += input.named_rows;
  }
  return absl::OkStatus();
}

// The samples of a batch one by one: a sequence's tokens, or a feature row.
std::vector<SampleReservoir::Sample> SplitSamples(const model::Graph& graph,
                                                  const ModelInput& batch,
                                                  uint64_t seed) {
  std::vector<SampleReservoir::Sample> samples;
  if (graph.input == model::InputKind::kTokens) {
    size_t begin = 0;
    for (const int32_t length : batch.lengths) {
      const auto tokens =
          absl::MakeConstSpan(batch.token_ids).subspan(begin, length);
      begin += length;
      samples.push_back(
          SampleReservoir::Sample::OfTokens(SampleKey(seed, tokens), tokens));
    }
    return samples;
  }
  for (size_t r = 0; r < batch.feature_rows; ++r) {
    const auto row = absl::MakeConstSpan(batch.features)
                         .subspan(r * graph.input_width, graph.input_width);
    samples.push_back(
        SampleReservoir::Sample::OfFeatures(SampleKey(seed, row), row));
  }
  return samples;
}

void CountSamples(std::vector<SampleReservoir::Sample> samples,
                  Calibration& calibration) {
  for (SampleReservoir::Sample& sample : samples) {
    ++calibration.samples;
    if (calibration.sketch.Wants(sample.key)) {
      calibration.sketch.Add(
          sample.key, sample.features.empty()
                          ? SignatureOfTokens(sample.tokens, sample.key)
                          : SignatureOfFeatures(sample.features, sample.key));
    }
    calibration.kept.Offer(std::move(sample));
  }
}

// Collects one batch's statistics apart from the calibration. Linears that
// read the same value are looked at once.
class BatchObserver : public model::LinearObserver {
 public:
  BatchObserver(const model::Graph& graph, const CalibrationOptions& options,
                const std::vector<SampleReservoir::Sample>& samples)
      : groups_(GroupByInput(graph)) {
    for (const InputGroup& group : groups_) {
      for (const Linear* linear : group) group_of_[linear->layer] = &group;
    }
    row_capacity_ = RowCapacity(groups_, options);
    for (const SampleReservoir::Sample& sample : samples) {
      const size_t rows = std::max<size_t>(sample.tokens.size(), 1);
      for (size_t position = 0; position < rows; ++position) {
        token_keys_.push_back(RowKey(sample.key, position));
      }
      sample_keys_.push_back(RowKey(sample.key, 0));
    }
  }

  absl::Status OnLinear(const Linear& linear, MatrixView<const float> x,
                        MatrixView<const float> /*y*/) override {
    const auto group = group_of_.find(linear.layer);
    if (group == group_of_.end()) {
      return absl::InternalError(
          model::StrCat("layer '", linear.layer, "' is not in the graph"));
    }
    const std::string& name = group->second->front()->layer;
    if (inputs_.contains(name)) return absl::OkStatus();
    RETURN_IF_ERROR(CheckFiniteInput(linear.layer, x));
    CalibratedInput input = NewInput(*group->second, row_capacity_);
    input.statistics.Observe(x);
    // One row per token, or after pooling one per sample.
    const std::vector<uint64_t>& keys =
        x.rows == token_keys_.size() ? token_keys_ : sample_keys_;
    if (x.rows == keys.size()) input.rows.Offer(x, keys);
    inputs_.emplace(name, std::move(input));
    return absl::OkStatus();
  }

  absl::Status AddTo(Calibration& calibration) const {
    return AddInputs(inputs_, calibration);
  }

 private:
  const std::vector<InputGroup> groups_;
  std::map<std::string, const InputGroup*, std::less<>> group_of_;
  size_t row_capacity_ = 0;
  std::vector<uint64_t> token_keys_;
  std::vector<uint64_t> sample_keys_;
  std::map<std::string, CalibratedInput, std::less<>> inputs_;
};

absl::Status CheckActivations(const Linear* linear, std::string_view layer,
                              MatrixView<const float> x) {
  if (linear == nullptr) {
    return absl::NotFoundError(
        model::StrCat("the model has no linear layer '", layer, "'"));
  }
  if (x.cols != linear->in_features) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "activations of layer '%s' have %d columns; the layer has %d inputs",
        layer, x.cols, linear->in_features));
  }
  if (x.rows == 0) {
    return absl::InvalidArgumentError(
        model::StrCat("activations of layer '", layer, "' have no rows"));
  }
  return CheckFiniteInput(layer, x);
}

struct Place {
  const Linear* linear = nullptr;
  const InputGroup* group = nullptr;
};

Place FindLinear(const std::vector<InputGroup>& groups,
                 std::string_view layer) {
  for (const InputGroup& group : groups) {
    for (const Linear* linear : group) {
      if (linear->layer == layer) return {linear, &group};
    }
  }
  return {};
}

absl::Status CheckMergeable(const Calibration& from, const Calibration& into) {
  if (from.checkpoint != into.checkpoint) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "a calibration of checkpoint '%s' cannot be merged into one of "
        "checkpoint '%s'",
        from.checkpoint, into.checkpoint));
  }
  RETURN_IF_ERROR(CheckFingerprint(from.fingerprint, into.fingerprint));
  if (from.options.seed != into.options.seed) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "a calibration with seed %d cannot be merged into one with seed %d: "
        "they drew their samples differently",
        from.options.seed, into.options.seed));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckOptions(const CalibrationOptions& options) {
  if (options.rows > kMaxKeptRows) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "kept_rows: %d is more than %d", options.rows, kMaxKeptRows));
  }
  if (options.samples > kMaxKeptSamples) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "kept_samples: %d is more than %d", options.samples, kMaxKeptSamples));
  }
  return absl::OkStatus();
}

Calibration NewCalibration(std::string checkpoint,
                           const CalibrationOptions& options) {
  Calibration calibration;
  calibration.checkpoint = std::move(checkpoint);
  calibration.options = options;
  calibration.kept = SampleReservoir(options.samples);
  return calibration;
}

const CalibratedInput* Calibration::Find(std::string_view layer) const {
  const auto found = inputs.find(layer);
  if (found != inputs.end()) return &found->second;
  for (const auto& [name, input] : inputs) {
    const auto& readers = input.layers;
    if (std::find(readers.begin(), readers.end(), layer) != readers.end()) {
      return &input;
    }
  }
  return nullptr;
}

StatisticsByLayer Calibration::ByLayer() const {
  StatisticsByLayer by_layer;
  for (const auto& [name, input] : inputs) {
    for (const std::string& layer : input.layers) {
      by_layer.emplace(layer, &input.statistics);
    }
  }
  return by_layer;
}

LayerSamples Calibration::SamplesOf(std::string_view layer) const {
  LayerSamples samples;
  const CalibratedInput* input = Find(layer);
  if (input == nullptr || input->statistics.rows == 0) return samples;
  const LayerStatistics& statistics = input->statistics;
  const auto rows = static_cast<double>(statistics.rows);
  samples.rows = input->rows.rows();
  for (size_t c = 0; c < statistics.columns(); ++c) {
    samples.column_mean.push_back(statistics.column_sum[c] / rows);
    samples.column_mean_square.push_back(statistics.column_sum_squares[c] /
                                         rows);
  }
  return samples;
}

absl::Status ObserveInputs(const model::Model& float_model,
                           const ModelInput& batch, kernels::ThreadPool* pool,
                           Calibration& calibration) {
  const model::Graph& graph = float_model.graph();
  RETURN_IF_ERROR(model::ValidateInput(graph, batch));
  if (batch.rows() == 0) {
    return absl::InvalidArgumentError("the batch has no samples");
  }
  std::vector<SampleReservoir::Sample> samples =
      SplitSamples(graph, batch, calibration.options.seed);
  BatchObserver observer(graph, calibration.options, samples);
  model::RunOptions options;
  // Token rows need no pooling to be observed.
  options.output = graph.hidden.has_value() ? model::OutputKind::kHidden
                                            : model::OutputKind::kOutput;
  options.pool = pool;
  options.observer = &observer;
  RETURN_IF_ERROR(float_model.Forward(batch, options).status());
  RETURN_IF_ERROR(observer.AddTo(calibration));
  ++calibration.batches;
  CountSamples(std::move(samples), calibration);
  return absl::OkStatus();
}

absl::Status ObserveActivations(const model::Graph& graph,
                                std::string_view layer,
                                MatrixView<const float> x,
                                Calibration& calibration) {
  const std::vector<InputGroup> groups = GroupByInput(graph);
  const auto [linear, group] = FindLinear(groups, layer);
  RETURN_IF_ERROR(CheckActivations(linear, layer, x));
  // A value has the same rows for all that read it; other values with equal
  // rows are other samples.
  const std::string& name = group->front()->layer;
  const uint64_t name_key = SampleKey(calibration.options.seed, name);
  std::vector<uint64_t> keys;
  for (size_t r = 0; r < x.rows; ++r) {
    keys.push_back(SampleKey(name_key, absl::MakeConstSpan(x.row(r), x.cols)));
  }
  CalibratedInput input =
      NewInput(*group, RowCapacity(groups, calibration.options));
  input.statistics.Observe(x);
  input.rows.Offer(x, keys);
  input.named_rows = x.rows;
  RETURN_IF_ERROR(AddInputs({{name, std::move(input)}}, calibration));
  ++calibration.batches;
  calibration.samples += x.rows;
  for (const uint64_t key : keys) {
    if (calibration.sketch.Wants(key)) {
      calibration.sketch.Add(key, SignatureOfKey(key));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckFits(const Calibration& calibration,
                       const model::Graph& graph) {
  const std::vector<InputGroup> groups = GroupByInput(graph);
  for (const auto& [name, input] : calibration.inputs) {
    const auto [linear, group] = FindLinear(groups, name);
    std::vector<std::string> layers;
    if (linear != nullptr) {
      for (const Linear* reader : *group) layers.push_back(reader->layer);
    }
    if (layers != input.layers ||
        linear->in_features != input.statistics.columns()) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "the calibration has seen a layer '%s' of %d inputs that the "
          "checkpoint does not have",
          name, input.statistics.columns()));
    }
  }
  const ModelInput kept = calibration.KeptInputs();
  return kept.rows() == 0 ? absl::OkStatus()
                          : model::ValidateInput(graph, kept);
}

absl::Status Merge(const Calibration& from, Calibration& into) {
  if (&from == &into) return Merge(Calibration(from), into);
  RETURN_IF_ERROR(CheckMergeable(from, into));
  RETURN_IF_ERROR(AddInputs(from.inputs, into));
  into.options.rows = std::min(into.options.rows, from.options.rows);
  into.options.samples = std::min(into.options.samples, from.options.samples);
  into.batches += from.batches;
  into.samples += from.samples;
  into.sketch.Merge(from.sketch);
  into.kept.Merge(from.kept);
  return absl::OkStatus();
}

}  // namespace octet::quantization
