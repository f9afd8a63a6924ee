#include "server/serving/live_input.h"

#include <cstdint>
#include <functional>
#include <numeric>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"

namespace octet::serving {

InputSize SizeOf(const model::ModelInputView& input) {
  return {.bytes = (input.token_ids.size() + input.lengths.size()) *
                       sizeof(int32_t) +
                   input.features.size() * sizeof(float),
          .samples = input.lengths.size() + input.feature_rows};
}

InputSize SizeOf(const FetchedRows& rows) {
  return {.bytes = rows.rows * rows.cols * sizeof(float), .samples = rows.rows};
}

LiveInput LiveInput::Of(const model::ModelInputView& input) {
  LiveInput live;
  live.inputs = input.Copy();
  return live;
}

absl::StatusOr<LiveInput> LiveInput::Of(const model::Linear& linear,
                                        const FetchedRows& rows) {
  LiveInput live;
  live.layer = linear.layer;
  live.columns = rows.cols;
  live.values.resize(rows.rows * rows.cols);
  RETURN_IF_ERROR(rows.fetch(0, rows.rows, live.values.data()));
  return live;
}

kernels::MatrixView<const float> LiveInput::rows() const {
  return {values.data(), values.size() / columns, columns};
}

size_t LiveInput::samples() const {
  return layer.empty() ? SizeOf(inputs).samples : rows().rows;
}

void LiveInput::KeepFirst(size_t samples) {
  if (!layer.empty()) return values.resize(samples * columns);
  if (inputs.feature_rows > 0) {
    inputs.features.resize(samples * inputs.features.size() /
                           inputs.feature_rows);
    inputs.feature_rows = samples;
    return;
  }
  inputs.lengths.resize(samples);
  inputs.token_ids.resize(
      std::accumulate(inputs.lengths.begin(), inputs.lengths.end(), size_t{0}));
}

size_t InputShape(const model::Graph& graph) {
  std::string shape =
      model::StrCat(static_cast<int>(graph.input), " ", graph.vocabulary, " ",
                    graph.max_positions, " ", graph.input_width);
  for (const model::Linear* linear : graph.Linears()) {
    shape += model::StrCat(" ", linear->layer, " ", linear->in_features, " ",
                           linear->out_features);
  }
  return std::hash<std::string>{}(shape);
}

}  // namespace octet::serving
