#include "client/cli/report_table.h"

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/format.h"
#include "client/cli/table.h"

namespace octet::cli {
namespace {

// "smooth 0.6, rotate 128, gptq": what the scheme does not say.
std::string Methods(const v1::LayerReport& layer) {
  std::vector<std::string> parts;
  if (layer.smoothing_alpha() >= 0) {
    parts.push_back(absl::StrFormat(
        "%s %.3g",
        layer.smoothing_folded_into().empty() ? "smooth" : "fold smooth",
        layer.smoothing_alpha()));
  }
  if (layer.hadamard_block() > 0) {
    parts.push_back(absl::StrCat("rotate ", layer.hadamard_block()));
  }
  if (layer.group_size() > 0) {
    parts.push_back(absl::StrCat("group ", layer.group_size()));
  }
  if (!layer.rounding().empty() && layer.rounding() != "nearest") {
    parts.push_back(layer.rounding());
  }
  if (layer.bias_correction()) parts.emplace_back("bias");
  return absl::StrJoin(parts, ", ");
}

Table LayerTable(const v1::QuantizationReport& report, bool exact) {
  Table table({{"LAYER", Align::kLeft, /*shrinks=*/true},
               {"SCHEME"},
               {"W SQNR", Align::kRight},
               {"OUT SQNR", Align::kRight},
               {"COSINE", Align::kRight},
               {"METHODS", Align::kLeft, true, /*optional=*/true},
               {"OUTLIERS", Align::kRight, false, true},
               {"STORED", Align::kRight, false, true},
               {"MAX ERR", Align::kRight, false, true},
               {"SHAPE", Align::kRight, false, true},
               {"WHY FLOAT", Align::kLeft, true, true}});
  for (const auto& layer : report.layers()) {
    const bool measured = layer.output_rows() > 0;
    const v1::ErrorMeasures& out = layer.output_error();
    table.AddRow({layer.layer(), SchemeName(layer.scheme()),
                  FormatSqnr(layer.weight_error(), true),
                  FormatSqnr(out, measured),
                  measured ? absl::StrFormat("%.6f", out.cosine()) : "-",
                  Methods(layer), absl::StrCat(layer.outlier_columns()),
                  FormatBytes(layer.stored_bytes(), exact),
                  measured ? absl::StrFormat("%.3g", out.max_error()) : "-",
                  absl::StrCat(layer.out_features(), "x", layer.in_features()),
                  layer.reason()});
  }
  return table;
}

std::string Ratio(int64_t after, int64_t before) {
  return before > 0 ? absl::StrFormat("%.3f", static_cast<double>(after) /
                                                  static_cast<double>(before))
                    : "-";
}

std::string Sizes(const v1::QuantizationReport& report, bool exact) {
  return absl::StrFormat(
      "linear weights  %s -> %s (%s)\nall tensors     %s -> %s (%s)\n",
      FormatBytes(report.linear_float_bytes(), exact),
      FormatBytes(report.linear_stored_bytes(), exact),
      Ratio(report.linear_stored_bytes(), report.linear_float_bytes()),
      FormatBytes(report.checkpoint_bytes(), exact),
      FormatBytes(report.bundle_bytes(), exact),
      Ratio(report.bundle_bytes(), report.checkpoint_bytes()));
}

constexpr absl::string_view kIndent = "                ";

std::string Quality(const v1::QuantizationReport& report) {
  if (report.model_rows() == 0) return "";
  return absl::StrFormat(
      "model output    SQNR %s dB, cosine mean %.6f,\n%sworst %.6f, %d rows\n",
      FormatSqnr(report.model_error(), true), report.mean_row_cosine(), kIndent,
      report.worst_row_cosine(), report.model_rows());
}

std::string Budgets(const v1::QuantizationReport& report) {
  std::string text;
  for (const v1::BudgetReport& budget : report.budgets()) {
    absl::StrAppendFormat(&text, "budget          %s %.6g: %s with %.6g\n",
                          budget.measure(), budget.limit(),
                          budget.held() ? "held" : "missed", budget.reached());
  }
  return text;
}

}  // namespace

std::string Wrap(absl::string_view text, size_t width,
                 absl::string_view indent) {
  std::string wrapped;
  size_t column = 0;
  for (const absl::string_view word :
       absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (column > 0 && column + 1 + word.size() > width) {
      absl::StrAppend(&wrapped, "\n", indent, word);
      column = indent.size() + word.size();
    } else {
      absl::StrAppend(&wrapped, column > 0 ? " " : "", word);
      column += (column > 0 ? 1 : 0) + word.size();
    }
  }
  return wrapped + "\n";
}

std::string ReportText(const v1::QuantizationReport& report,
                       const ReportStyle& style) {
  std::string text = absl::StrCat(
      Wrap(report.summary(), style.width, ""), "\n",
      LayerTable(report, style.exact_bytes).Render(style.width), "\n",
      Sizes(report, style.exact_bytes), Quality(report), Budgets(report));
  for (const std::string& warning : report.warnings()) {
    absl::StrAppend(
        &text, Wrap(absl::StrCat("warning: ", warning), style.width, "  "));
  }
  return text;
}

}  // namespace octet::cli
