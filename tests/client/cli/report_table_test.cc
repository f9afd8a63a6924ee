#include "client/cli/report_table.h"

#include <limits>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

v1::QuantizationReport Example() {
  v1::QuantizationReport report;
  report.set_summary(
      "2 of 3 linear layers are INT8 (llm_int8); 1 stayed float (fp16). Their "
      "weights take 10.3 MiB, 3.93 times less than in FP32.");
  for (int i = 0; i < 3; ++i) {
    v1::LayerReport& layer = *report.add_layers();
    layer.set_layer("encoder.layer." + std::to_string(i) +
                    ".attention.self.a_name_that_goes_on_and_on.query");
    layer.set_scheme(i == 2 ? v1::SCHEME_FP16 : v1::SCHEME_LLM_INT8);
    layer.set_smoothing_alpha(i == 0 ? 0.65 : -1);
    layer.set_hadamard_block(i == 0 ? 128 : 0);
    layer.set_rounding("gptq");
    layer.set_output_rows(i == 1 ? 0 : 64);
    layer.mutable_output_error()->set_sqnr_db(
        i == 2 ? std::numeric_limits<double>::infinity() : 33.25);
    layer.set_reason(i == 2 ? "override 'pooler.*'" : "");
  }
  report.set_model_rows(64);
  report.set_mean_row_cosine(0.9996);
  report.add_warnings(
      "calibration saw only 64 samples; from 100 to 1000 are what ranges need "
      "to be stable and still quick to take");
  v1::BudgetReport& budget = *report.add_budgets();
  budget.set_measure("min_mean_cosine");
  budget.set_limit(0.9995);
  budget.set_reached(0.9996);
  budget.set_held(true);
  return report;
}

TEST(ReportText, FitsTheTerminal) {
  for (const size_t width : {60, 80, 100, 200}) {
    std::istringstream lines(ReportText(Example(), {width, false}));
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LE(line.size(), width) << line;
    }
  }
}

TEST(ReportText, BeginsWithWhatHappened) {
  const std::string text = ReportText(Example(), {300, false});
  EXPECT_THAT(text, StartsWith("2 of 3 linear layers are INT8"));
  EXPECT_THAT(text, HasSubstr("smooth 0.65, rotate 128, gptq"));
  EXPECT_THAT(text, HasSubstr("exact"));
  EXPECT_THAT(text, HasSubstr("override 'pooler.*'"));
  EXPECT_THAT(text, HasSubstr("cosine mean 0.999600"));
  EXPECT_THAT(text, HasSubstr("min_mean_cosine 0.9995: held with 0.9996"));
  EXPECT_THAT(text, HasSubstr("warning: calibration saw only 64"));
}

TEST(ReportText, SaysNothingOfWhatWasNotMeasured) {
  v1::QuantizationReport report = Example();
  report.set_model_rows(0);
  report.clear_budgets();
  EXPECT_THAT(ReportText(report, {100, false}),
              AllOf(Not(HasSubstr("cosine mean")), Not(HasSubstr("budget"))));
}

TEST(Wrap, BreaksAtSpaces) {
  EXPECT_EQ(Wrap("aaa bb c dddd", 6, "  "), "aaa bb\n  c\n  dddd\n");
  EXPECT_EQ(Wrap("a toolongword b", 5, ""), "a\ntoolongword\nb\n");
  EXPECT_EQ(Wrap("", 5, "  "), "\n");
}

}  // namespace
}  // namespace octet::cli
