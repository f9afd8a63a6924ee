#include "tests/server/telemetry/scrape.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <regex>
#include <sstream>

#include "gtest/gtest.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"

namespace octet::telemetry {
namespace {

// "a_bucket" of a histogram belongs to family "a".
std::string FamilyOf(const std::string& name, const Scrape& scrape) {
  for (const char* suffix : {"_bucket", "_sum", "_count"}) {
    const std::string ending = suffix;
    if (!name.ends_with(ending)) continue;
    const std::string family = name.substr(0, name.size() - ending.size());
    if (scrape.types.contains(family)) return family;
  }
  return name;
}

}  // namespace

std::string HttpGet(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) ==
      0) {
    const std::string request =
        "GET " + path + " HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    EXPECT_EQ(send(fd, request.data(), request.size(), 0),
              static_cast<ssize_t>(request.size()));
    char buffer[4096];
    for (ssize_t n = 0; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
      answer.append(buffer, static_cast<size_t>(n));
    }
  }
  close(fd);
  return answer;
}

std::optional<double> Scrape::Value(const std::string& sample) const {
  const auto found = samples.find(sample);
  if (found == samples.end()) return std::nullopt;
  return found->second;
}

size_t Scrape::CountWith(const std::string& text) const {
  size_t count = 0;
  for (const auto& [sample, value] : samples) {
    count += sample.find(text) != std::string::npos;
  }
  return count;
}

Scrape ParseMetrics(const std::string& body) {
  static const std::regex kType(R"(# TYPE (\S+) (\S+))");
  static const std::regex kSample(R"((\w+)(?:\{(.*)\})? (\S+))");
  static const std::regex kLabel(R"re((\w+)="([^"]*)")re");
  Scrape scrape;
  std::istringstream lines(body);
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    std::smatch match;
    if (std::regex_match(line, match, kType)) scrape.types[match[1]] = match[2];
    if (line.empty() || line[0] == '#') continue;
    if (!std::regex_match(line, match, kSample)) continue;
    const std::string name = match[1];
    const std::string labels = match[2];
    const double value = std::strtod(match[3].str().c_str(), nullptr);
    std::map<std::string, std::string> sorted;
    std::set<std::string>& names = scrape.labels[FamilyOf(name, scrape)];
    for (std::sregex_iterator i(labels.begin(), labels.end(), kLabel), end;
         i != end; ++i) {
      sorted[(*i)[1]] = (*i)[2];
      if ((*i)[1] != "le") names.insert((*i)[1]);
    }
    std::string key = name;
    for (const auto& [label, text] : sorted) {
      key += (key == name ? "{" : ",") + label + "=\"" + text + "\"";
    }
    if (!sorted.empty()) key += "}";
    scrape.samples[key] = value;
  }
  return scrape;
}

Scrape Collect(const Metrics& metrics) {
  return ParseMetrics(
      prometheus::TextSerializer().Serialize(metrics.registry()->Collect()));
}

}  // namespace octet::telemetry
