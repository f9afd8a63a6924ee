#include "server/bundle/report_page.h"

#include <limits>
#include <regex>
#include <string>

#include "nlohmann/json.hpp"
#include "server/bundle/report_summary.h"
#include "tests/server/bundle/support.h"

namespace octet::bundle {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr char kHostile[] =
    "</script><script>alert(1)</script><!-- \" ' & {{data}} ]]> \xe2\x80\xa8";

Manifest Example() {
  Manifest manifest;
  manifest.family = "linear_set";
  manifest.provenance = {"checkpoints/a", "calibrations/b", "0.1.0",
                         "2026-01-01T00:00:00Z"};
  LayerReport layer;
  layer.layer = kHostile;
  layer.scheme = model::Scheme::kLlmInt8;
  layer.reason = kHostile;
  layer.output.sqnr_db = std::numeric_limits<double>::infinity();
  manifest.report.layers = {layer};
  manifest.report.warnings = {kHostile};
  return manifest;
}

std::string Between(const std::string& text, const std::string& before,
                    const std::string& after) {
  const size_t begin = text.find(before) + before.size();
  return text.substr(begin, text.find(after, begin) - begin);
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos;
       at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

TEST(ReportPage, NamesOfStrangersStayText) {
  const auto page = ReportPage(kHostile, Example());
  ASSERT_THAT(page, IsOk());
  EXPECT_EQ(Count(*page, "<script"), 2);
  EXPECT_EQ(Count(*page, "</script"), 2);
  EXPECT_THAT(*page, Not(HasSubstr("<script>alert")));
  const std::string data = Between(
      *page, "<script type=\"application/json\" id=\"data\">", "</script>");
  const json parsed = json::parse(data);
  EXPECT_EQ(parsed["report"]["layers"][0]["layer"], kHostile);
  EXPECT_EQ(parsed["report"]["warnings"][0], kHostile);
  EXPECT_EQ(parsed["bundle"], kHostile);
  EXPECT_THAT(Between(*page, "<h1>", "</h1>"),
              HasSubstr("&lt;/script&gt;&lt;script&gt;alert(1)"));
}

TEST(ReportPage, EveryPlaceIsFilled) {
  const auto page = ReportPage("a", Example());
  ASSERT_THAT(page, IsOk());
  std::string without_data = *page;
  without_data.erase(page->find("id=\"data\">"));
  EXPECT_THAT(without_data, Not(HasSubstr("{{")));
  EXPECT_THAT(*page, HasSubstr(Summary(Example().report).substr(0, 20)));
}

TEST(ReportPage, LetsNothingIn) {
  const auto page = ReportPage("a", Example());
  ASSERT_THAT(page, IsOk());
  EXPECT_THAT(*page, HasSubstr("default-src 'none'"));
  EXPECT_THAT(*page, Not(HasSubstr("unsafe-inline")));
  // The namespace of SVG is a name, not an address that is asked.
  std::string rest = std::regex_replace(
      *page, std::regex("http://www\\.w3\\.org/2000/svg"), "");
  EXPECT_THAT(rest, Not(HasSubstr("http:")));
  EXPECT_THAT(rest, Not(HasSubstr("https:")));
  EXPECT_THAT(rest, Not(HasSubstr("innerHTML")));
}

LayerReport Layer(model::Scheme scheme, double microseconds) {
  LayerReport layer;
  layer.scheme = scheme;
  if (microseconds > 0) {
    layer.candidates.resize(2);
    layer.candidates[0].scheme = model::Scheme::kFp16;
    layer.candidates[0].microseconds = 30;
    layer.candidates[1].scheme = scheme;
    layer.candidates[1].microseconds = microseconds;
    layer.candidates[1].chosen = true;
  }
  return layer;
}

TEST(ReportSummary, SaysWhatHappened) {
  QuantizationReport report;
  report.layers = {Layer(model::Scheme::kLlmInt8, 10),
                   Layer(model::Scheme::kW8A8Dynamic, 10),
                   Layer(model::Scheme::kLlmInt8, 10),
                   Layer(model::Scheme::kFp16, 20)};
  report.linear_float_bytes = 8 << 20;
  report.linear_stored_bytes = 2 << 20;
  report.model_rows = 64;
  report.mean_row_cosine = 0.99962;
  report.worst_row_cosine = 0.9983;
  report.model.sqnr_db = 40.0;
  report.budgets = {{"min_mean_cosine", 0.9995, 0.99962, true}};
  report.warnings = {"few"};
  EXPECT_EQ(Summary(report),
            "3 of 4 linear layers are INT8 (llm_int8 2, w8a8_dynamic 1); 1 "
            "stayed float (fp16). Their weights take 2.0 MiB, 4.00 times less "
            "than in FP32. They run 2.4 times as fast as in float. On 64 "
            "output rows of calibration samples the mean cosine to FP32 is "
            "0.99962, the worst 0.9983: an error of 1 % of the signal. The "
            "budget holds. There is 1 warning.");
}

TEST(ReportSummary, DoesNotClaimWhatWasNotMeasured) {
  QuantizationReport report;
  report.layers = {Layer(model::Scheme::kW8A8Static, 0)};
  EXPECT_EQ(
      Summary(report),
      "The only linear layer is INT8 (w8a8_static). What that does to the "
      "model's output was not measured.");
  report.layers = {Layer(model::Scheme::kFp16, 0)};
  EXPECT_THAT(Summary(report),
              testing::StartsWith("None of 1 linear layers is INT8 (fp16)."));
}

}  // namespace
}  // namespace octet::bundle
