// What a request may bring: checked before anything is computed.
//
// A message opens with the field as octet.v1.ModelInputs has it, and a colon,
// so that callers get it as a field violation: "tokens.ids[3]: is ...".

#include <cstdint>

#include "kernels/finite.h"
#include "kernels/status_macros.h"
#include "server/model/model.h"
#include "server/model/str_cat.h"

namespace octet::model {
namespace {

absl::Status CheckLengths(const Graph& graph, const ModelInputView& input) {
  size_t tokens = 0;
  for (size_t i = 0; i < input.lengths.size(); ++i) {
    const int32_t length = input.lengths[i];
    if (length < 1) {
      return absl::InvalidArgumentError(StrCat(
          "tokens.lengths[", i, "]: is ", length, "; it must be at least 1"));
    }
    if (static_cast<size_t>(length) > graph.max_positions) {
      return absl::InvalidArgumentError(StrCat(
          "tokens.lengths[", i, "]: is ", length, "; the model takes at most ",
          graph.max_positions, " tokens in a sequence"));
    }
    tokens += static_cast<size_t>(length);
  }
  if (tokens != input.token_ids.size()) {
    return absl::InvalidArgumentError(StrCat("tokens.lengths: add up to ",
                                             tokens, "; tokens.ids has ",
                                             input.token_ids.size()));
  }
  return absl::OkStatus();
}

absl::Status CheckTokens(const Graph& graph, const ModelInputView& input) {
  if (!input.features.empty() || input.feature_rows != 0) {
    return absl::InvalidArgumentError(
        "features: the model takes tokens, not features");
  }
  if (input.lengths.empty()) {
    return absl::InvalidArgumentError(
        "tokens.lengths: must have at least one sequence");
  }
  RETURN_IF_ERROR(CheckLengths(graph, input));
  for (size_t i = 0; i < input.token_ids.size(); ++i) {
    const int32_t id = input.token_ids[i];
    if (id < 0 || static_cast<size_t>(id) >= graph.vocabulary) {
      return absl::InvalidArgumentError(
          StrCat("tokens.ids[", i, "]: is ", id,
                 "; the vocabulary has ids from 0 to ", graph.vocabulary - 1));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckFeatures(const Graph& graph, const ModelInputView& input,
                           bool allow_non_finite) {
  if (!input.token_ids.empty() || !input.lengths.empty()) {
    return absl::InvalidArgumentError(
        "tokens: the model takes features, not tokens");
  }
  if (input.feature_rows == 0) {
    return absl::InvalidArgumentError("features: must have at least one row");
  }
  const size_t width = graph.input_width;
  if (input.features.size() % width != 0 ||
      input.features.size() / width != input.feature_rows) {
    return absl::InvalidArgumentError(
        StrCat("features: has ", input.features.size(), " values; ",
               input.feature_rows, " rows of ", width, " are needed"));
  }
  if (allow_non_finite) return absl::OkStatus();
  return CheckFinite({input.features.data(), input.feature_rows, width});
}

}  // namespace

size_t ModelInput::rows() const { return ModelInputView(*this).rows(); }

ModelInputView::ModelInputView(const ModelInput& input)
    : token_ids(input.token_ids),
      lengths(input.lengths),
      features(input.features),
      feature_rows(input.feature_rows) {}

size_t ModelInputView::rows() const {
  return token_ids.empty() ? feature_rows : token_ids.size();
}

ModelInput ModelInputView::Copy() const {
  ModelInput input;
  input.token_ids.assign(token_ids.begin(), token_ids.end());
  input.lengths.assign(lengths.begin(), lengths.end());
  input.features.assign(features.begin(), features.end());
  input.feature_rows = feature_rows;
  return input;
}

absl::Status CheckFinite(kernels::MatrixView<const float> rows,
                         size_t first_row) {
  for (size_t row = 0; row < rows.rows; ++row) {
    const auto values = absl::MakeConstSpan(rows.row(row), rows.cols);
    if (const auto column = kernels::FirstNonFinite(values)) {
      return absl::InvalidArgumentError(
          StrCat("features[", first_row + row, "][", *column, "]: is ",
                 values[*column], "; it must be finite"));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateInput(const Graph& graph, const ModelInputView& input,
                           bool allow_non_finite) {
  switch (graph.input) {
    case InputKind::kTokens:
      return CheckTokens(graph, input);
    case InputKind::kFeatures:
      return CheckFeatures(graph, input, allow_non_finite);
    case InputKind::kNone:
      break;
  }
  return absl::FailedPreconditionError(
      StrCat("a ", graph.family, " has no forward; its layers run by MatMul"));
}

}  // namespace octet::model
