#include "server/telemetry/exposer.h"

#include <ctime>
#include <fstream>
#include <regex>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/telemetry/build_info.h"
#include "server/telemetry/security_metrics.h"
#include "tests/server/telemetry/scrape.h"

namespace octet::telemetry {
namespace {

using ::testing::HasSubstr;
using ::testing::Optional;

// Starts an exposer on a free port, scrapes it once and stops it.
Scrape ScrapeOnce(const Metrics& metrics) {
  const auto exposer = Exposer::Start("127.0.0.1:0", metrics);
  EXPECT_TRUE(exposer.ok()) << exposer.status();
  if (!exposer.ok()) return {};
  const std::string answer = HttpGet((*exposer)->port(), "/metrics");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  return ParseMetrics(answer);
}

TEST(Exposer, AnswersTheTextFormat) {
  const Metrics metrics;
  const auto exposer = Exposer::Start("127.0.0.1:0", metrics);
  ASSERT_TRUE(exposer.ok()) << exposer.status();
  EXPECT_GT((*exposer)->port(), 0);
  const std::string answer = HttpGet((*exposer)->port(), "/metrics");
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain"));
  EXPECT_THAT(answer, HasSubstr("# TYPE octet_workers gauge\n"));
}

TEST(Exposer, ShowsWhatWasCountedBetweenTwoScrapes) {
  Metrics metrics;
  metrics.AddRpcMethod("a/B");
  const auto exposer = Exposer::Start("127.0.0.1:0", metrics);
  ASSERT_TRUE(exposer.ok()) << exposer.status();
  const auto ok = [&] {
    return ParseMetrics(HttpGet((*exposer)->port(), "/metrics"))
        .Value("octet_rpc_requests_total{code=\"OK\",method=\"a/B\"}");
  };
  EXPECT_THAT(ok(), Optional(0));
  for (int i = 0; i < 3; ++i) {
    metrics.RpcStarted("a/B");
    metrics.RpcFinished("a/B", "OK", 1e-3);
  }
  EXPECT_THAT(ok(), Optional(3));
}

TEST(Exposer, SaysWhichAddressIsTaken) {
  const Metrics metrics;
  const auto first = Exposer::Start("127.0.0.1:0", metrics);
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string address = "127.0.0.1:" + std::to_string((*first)->port());
  const auto second = Exposer::Start(address, metrics);
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(address));
}

TEST(Exposer, SaysWhatTheBinaryWasBuiltFrom) {
  const BuildInfo& build = GetBuildInfo();
  EXPECT_TRUE(std::regex_match(std::string(build.version),
                               std::regex(R"(\d+\.\d+\.\d+)")));
  EXPECT_FALSE(build.revision.empty());
  const Metrics metrics;
  EXPECT_THAT(ScrapeOnce(metrics).Value(
                  "octet_build_info{compiler=\"" + std::string(build.compiler) +
                  "\",revision=\"" + std::string(build.revision) +
                  "\",version=\"" + std::string(build.version) + "\"}"),
              Optional(1));
}

TEST(Exposer, ReportsItsOwnProcess) {
  const Metrics metrics;
  const Scrape scrape = ScrapeOnce(metrics);
  const double now = static_cast<double>(std::time(nullptr));
  const double start = scrape.Value("process_start_time_seconds").value_or(0);
  // A second of rounding on either side, an hour for a slow test before us.
  EXPECT_GT(start, now - 3600);
  EXPECT_LE(start, now + 2);
  EXPECT_THAT(scrape.Value("process_resident_memory_bytes"),
              Optional(testing::Gt(1e6)));
  EXPECT_THAT(scrape.Value("process_cpu_seconds_total"),
              Optional(testing::Ge(0)));
  EXPECT_THAT(scrape.Value("process_threads"), Optional(testing::Ge(2)));
  const double open = scrape.Value("process_open_fds").value_or(0);
  EXPECT_GE(open, 3);
  EXPECT_THAT(scrape.Value("process_max_fds"), Optional(testing::Ge(open)));
}

// The table of metrics in deploy/README.md: name -> (type, label names).
std::map<std::string, std::pair<std::string, std::set<std::string>>>
DocumentedMetrics() {
  static const std::regex kRow(R"(\| `(\w+)` \| (\w+) \|([^|]*)\|.*)");
  static const std::regex kLabel(R"(`(\w+)`)");
  std::map<std::string, std::pair<std::string, std::set<std::string>>> table;
  std::ifstream readme(OCTET_DEPLOY_README);
  for (std::string line; std::getline(readme, line);) {
    std::smatch row;
    if (!std::regex_match(line, row, kRow)) continue;
    auto& [type, labels] = table[row[1]];
    type = row[2];
    const std::string names = row[3];
    for (std::sregex_iterator i(names.begin(), names.end(), kLabel), end;
         i != end; ++i) {
      labels.insert((*i)[1]);
    }
  }
  return table;
}

TEST(Exposer, ExportsExactlyTheDocumentedMetrics) {
  Metrics metrics;
  metrics.AddRpcMethod("a/B");
  ModelDescription description;
  description.kernels = {{"avx2", "dot"}};
  description.outlier_features_by_kind = {{"query", 1}};
  metrics.ModelLoaded("m", description);
  metrics.Versions({{"m", 1, "bundles/b", 1}});
  SecurityMetrics security(metrics.registry());
  metrics.ModelWatched("m", {.shadow = true, .layer_kinds = {"query"}});
  metrics.CaptureStarted("m");
  const auto exposer = Exposer::Start("127.0.0.1:0", metrics);
  ASSERT_TRUE(exposer.ok()) << exposer.status();
  HttpGet((*exposer)->port(), "/metrics");  // the exposer counts its scrapes
  const Scrape scrape = ParseMetrics(HttpGet((*exposer)->port(), "/metrics"));
  std::map<std::string, std::pair<std::string, std::set<std::string>>> exported;
  for (const auto& [name, type] : scrape.types) {
    exported[name] = {type, scrape.labels.at(name)};
    exported[name].second.erase("quantile");
  }
  EXPECT_EQ(exported, DocumentedMetrics());
}

}  // namespace
}  // namespace octet::telemetry
