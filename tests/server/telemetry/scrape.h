// /metrics as a scraper sees it: fetched over a socket and parsed.

#ifndef OCTET_TESTS_SERVER_TELEMETRY_SCRAPE_H_
#define OCTET_TESTS_SERVER_TELEMETRY_SCRAPE_H_

#include <map>
#include <optional>
#include <set>
#include <string>

#include "server/telemetry/metrics.h"

namespace octet::telemetry {

// The whole answer to "GET path", headers and body.
std::string HttpGet(int port, const std::string& path);

struct Scrape {
  // "name{label="value",..}", labels sorted, to its value.
  std::map<std::string, double> samples;
  std::map<std::string, std::string> types;  // family to "counter", ...
  // Family to the names of its labels, but for a bucket's "le".
  std::map<std::string, std::set<std::string>> labels;

  std::optional<double> Value(const std::string& sample) const;
  // How many samples hold `text` in their names or labels.
  size_t CountWith(const std::string& text) const;
};

Scrape ParseMetrics(const std::string& body);

// What a scrape of `metrics` would say, without the socket.
Scrape Collect(const Metrics& metrics);

}  // namespace octet::telemetry

#endif  // OCTET_TESTS_SERVER_TELEMETRY_SCRAPE_H_
