#include "server/quantization/calibration.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "kernels/finite.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"

namespace octet::quantization {
namespace {

using model::Linear;
using model::ModelInput;

// One in ten: below that, repeats hardly move the statistics.
constexpr double kManyDuplicates = 0.1;

// FNV-1a, 64 bits: stable over processes and machines, since hashes are saved.
constexpr uint64_t kHashSeed = 0xCBF29CE484222325;

uint64_t Hash(std::string_view bytes, uint64_t seed = kHashSeed) {
  constexpr uint64_t kPrime = 0x100000001B3;
  uint64_t hash = seed;
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * kPrime;
  }
  return hash;
}

template <typename T>
uint64_t Hash(absl::Span<const T> values, uint64_t seed = kHashSeed) {
  return Hash(std::string_view(reinterpret_cast<const char*>(values.data()),
                               values.size() * sizeof(T)),
              seed);
}

void CountSample(uint64_t hash, Calibration& calibration) {
  ++calibration.samples;
  if (calibration.sample_hashes.contains(hash)) {
    ++calibration.duplicate_samples;
  } else if (calibration.sample_hashes.size() < kRememberedHashes) {
    calibration.sample_hashes.insert(hash);
  }
}

// Statistics of a layer's input, made if there are none yet.
LayerStatistics& StatisticsOf(std::string_view layer, size_t columns,
                              StatisticsByLayer& layers) {
  const auto found = layers.find(layer);
  if (found != layers.end()) return found->second;
  return layers.try_emplace(std::string(layer), columns).first->second;
}

absl::Status CheckWidth(const StatisticsByLayer& layers, std::string_view layer,
                        size_t columns) {
  const auto found = layers.find(layer);
  if (found == layers.end() || found->second.columns() == columns) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "layer '%s' has %d inputs here; the calibration has seen %d", layer,
      columns, found->second.columns()));
}

absl::Status CheckFiniteInput(std::string_view layer,
                              kernels::MatrixView<const float> x) {
  for (size_t r = 0; r < x.rows; ++r) {
    const auto bad = kernels::FirstNonFinite({x.row(r), x.cols});
    if (!bad.has_value()) continue;
    return absl::InvalidArgumentError(absl::StrFormat(
        "the input of layer '%s' is NaN or infinite at index [%d, %d]", layer,
        r, *bad));
  }
  return absl::OkStatus();
}

// Collects one batch's statistics apart from the calibration. Linears that
// read the same value are looked at once.
class BatchObserver : public model::LinearObserver {
 public:
  absl::Status OnLinear(const Linear& linear,
                        kernels::MatrixView<const float> x,
                        kernels::MatrixView<const float> /*y*/) override {
    const auto [found, is_new] = by_value_.try_emplace(linear.input, x.cols);
    if (is_new) {
      RETURN_IF_ERROR(CheckFiniteInput(linear.layer, x));
      found->second.Observe(x);
    }
    layers_.emplace_back(linear.layer, &found->second);
    return absl::OkStatus();
  }

  // Widths are checked before anything is added.
  absl::Status AddTo(StatisticsByLayer& layers) const {
    for (const auto& [layer, statistics] : layers_) {
      RETURN_IF_ERROR(CheckWidth(layers, layer, statistics->columns()));
    }
    for (const auto& [layer, statistics] : layers_) {
      RETURN_IF_ERROR(StatisticsOf(layer, statistics->columns(), layers)
                          .Merge(*statistics));
    }
    return absl::OkStatus();
  }

 private:
  std::map<model::ValueId, LayerStatistics> by_value_;
  std::vector<std::pair<std::string, const LayerStatistics*>> layers_;
};

// The samples of an input one by one: a sequence's tokens or a feature row.
void CountAndKeepTokens(const ModelInput& batch, Calibration& calibration) {
  ModelInput& kept = calibration.kept_inputs;
  size_t begin = 0;
  for (const int32_t length : batch.lengths) {
    const auto tokens =
        absl::MakeConstSpan(batch.token_ids).subspan(begin, length);
    begin += length;
    CountSample(Hash(tokens), calibration);
    if (kept.lengths.size() >= kKeptSamples) continue;
    kept.lengths.push_back(length);
    kept.token_ids.insert(kept.token_ids.end(), tokens.begin(), tokens.end());
  }
}

void CountAndKeepFeatures(const ModelInput& batch, size_t width,
                          Calibration& calibration) {
  ModelInput& kept = calibration.kept_inputs;
  for (size_t r = 0; r < batch.feature_rows; ++r) {
    const auto row =
        absl::MakeConstSpan(batch.features).subspan(r * width, width);
    CountSample(Hash(row), calibration);
    if (kept.feature_rows >= kKeptSamples) continue;
    kept.features.insert(kept.features.end(), row.begin(), row.end());
    ++kept.feature_rows;
  }
}

const Linear* FindLinear(const model::Graph& graph, std::string_view layer) {
  for (const Linear* linear : graph.Linears()) {
    if (linear->layer == layer) return linear;
  }
  return nullptr;
}

void KeepRows(kernels::MatrixView<const float> x, std::vector<float>& kept) {
  const size_t limit = kKeptSamples * x.cols;
  for (size_t r = 0; r < x.rows && kept.size() < limit; ++r) {
    kept.insert(kept.end(), x.row(r), x.row(r) + x.cols);
  }
}

void KeepInputs(const ModelInput& from, ModelInput& into) {
  size_t begin = 0;
  for (const int32_t length : from.lengths) {
    if (into.lengths.size() >= kKeptSamples) break;
    into.lengths.push_back(length);
    into.token_ids.insert(into.token_ids.end(), from.token_ids.begin() + begin,
                          from.token_ids.begin() + begin + length);
    begin += length;
  }
  if (from.feature_rows == 0) return;
  const size_t width = from.features.size() / from.feature_rows;
  const size_t rows =
      std::min(from.feature_rows, kKeptSamples - into.feature_rows);
  into.features.insert(into.features.end(), from.features.begin(),
                       from.features.begin() + rows * width);
  into.feature_rows += rows;
}

void MergeHashes(const Calibration& from, Calibration& into) {
  for (const uint64_t hash : from.sample_hashes) {
    if (into.sample_hashes.contains(hash)) {
      ++into.duplicate_samples;
    } else if (into.sample_hashes.size() < kRememberedHashes) {
      into.sample_hashes.insert(hash);
    }
  }
}

absl::Status CheckMergeable(const Calibration& from, const Calibration& into) {
  if (from.checkpoint != into.checkpoint) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "a calibration of checkpoint '%s' cannot be merged into one of "
        "checkpoint '%s'",
        from.checkpoint, into.checkpoint));
  }
  for (const auto& [layer, statistics] : from.layers) {
    RETURN_IF_ERROR(CheckWidth(into.layers, layer, statistics.columns()));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> Calibration::Warnings() const {
  std::vector<std::string> warnings;
  if (samples < kFewSamples) {
    warnings.push_back(absl::StrFormat(
        "%d calibration samples are few; ranges settle from about %d on",
        samples, kFewSamples));
  } else if (samples > kManySamples && kept_rows.empty()) {
    warnings.push_back(absl::StrFormat(
        "%d calibration samples are many; beyond %d they rarely change ranges "
        "other than by rare extremes",
        samples, kManySamples));
  }
  if (duplicate_samples > kManyDuplicates * static_cast<double>(samples)) {
    warnings.push_back(absl::StrFormat(
        "%d of %d calibration samples repeat earlier ones; different samples "
        "would cover more",
        duplicate_samples, samples));
  }
  return warnings;
}

absl::Status ObserveInputs(const model::Model& float_model,
                           const ModelInput& batch, kernels::ThreadPool* pool,
                           Calibration& calibration) {
  const model::Graph& graph = float_model.graph();
  RETURN_IF_ERROR(model::ValidateInput(graph, batch));
  if (batch.rows() == 0) {
    return absl::InvalidArgumentError("the batch has no samples");
  }
  BatchObserver observer;
  model::RunOptions options;
  // Token rows need no pooling to be observed.
  options.output = graph.hidden.has_value() ? model::OutputKind::kHidden
                                            : model::OutputKind::kOutput;
  options.pool = pool;
  options.observer = &observer;
  RETURN_IF_ERROR(float_model.Forward(batch, options).status());
  RETURN_IF_ERROR(observer.AddTo(calibration.layers));
  ++calibration.batches;
  if (graph.input == model::InputKind::kTokens) {
    CountAndKeepTokens(batch, calibration);
  } else {
    CountAndKeepFeatures(batch, graph.input_width, calibration);
  }
  return absl::OkStatus();
}

absl::Status ObserveActivations(const model::Graph& graph,
                                std::string_view layer,
                                kernels::MatrixView<const float> x,
                                Calibration& calibration) {
  const Linear* linear = FindLinear(graph, layer);
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
  RETURN_IF_ERROR(CheckFiniteInput(layer, x));
  RETURN_IF_ERROR(CheckWidth(calibration.layers, layer, x.cols));
  StatisticsOf(layer, x.cols, calibration.layers).Observe(x);
  ++calibration.batches;
  const uint64_t layer_hash = Hash(layer);
  for (size_t r = 0; r < x.rows; ++r) {
    CountSample(Hash(absl::MakeConstSpan(x.row(r), x.cols), layer_hash),
                calibration);
  }
  KeepRows(x, calibration.kept_rows[std::string(layer)]);
  return absl::OkStatus();
}

absl::Status Merge(const Calibration& from, Calibration& into) {
  if (&from == &into) return Merge(Calibration(from), into);
  RETURN_IF_ERROR(CheckMergeable(from, into));
  for (const auto& [layer, statistics] : from.layers) {
    RETURN_IF_ERROR(StatisticsOf(layer, statistics.columns(), into.layers)
                        .Merge(statistics));
  }
  into.batches += from.batches;
  into.samples += from.samples;
  into.duplicate_samples += from.duplicate_samples;
  MergeHashes(from, into);
  KeepInputs(from.kept_inputs, into.kept_inputs);
  for (const auto& [layer, rows] : from.kept_rows) {
    const size_t columns = from.layers.find(layer)->second.columns();
    KeepRows({rows.data(), rows.size() / columns, columns},
             into.kept_rows[layer]);
  }
  return absl::OkStatus();
}

}  // namespace octet::quantization
