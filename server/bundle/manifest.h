// octet.json: what a bundle says about itself.
//
// The graph is not serialized: it is imported again from config.json, so that
// one importer stays the only truth about a model family.

#ifndef OCTET_SERVER_BUNDLE_MANIFEST_H_
#define OCTET_SERVER_BUNDLE_MANIFEST_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/bundle/report.h"
#include "server/model/scheme.h"

namespace octet::bundle {

inline constexpr int kFormatVersion = 2;

struct LayerRange {  // calibration statistics a reader wants to see
  int64_t rows = 0;
  float min = 0;
  float max = 0;
  float absmax = 0;
  double sigma = 0;
};

struct FileDigest {
  uint64_t size_bytes = 0;
  std::string sha256;  // lower-case hexadecimal
};

struct Provenance {
  std::string checkpoint;   // resource name
  std::string calibration;  // resource name, may be empty
  std::string octet_version;
  std::string create_time;  // RFC 3339, UTC
};

struct Manifest {
  int format_version = kFormatVersion;
  std::string family;  // the graph's family
  model::Plan plan;
  std::map<std::string, LayerRange> statistics;
  QuantizationReport report;
  Provenance provenance;
  std::string compressed_tensors;  // "" if config.json says it, else why not
  std::map<std::string, FileDigest> files;  // every other file of the bundle
};

std::string ToJson(const Manifest& manifest);

// INVALID_ARGUMENT naming the field ("octet.json: plan.fc1.scheme: ...");
// FAILED_PRECONDITION for another format version, which nothing else is read
// of.
absl::StatusOr<Manifest> ParseManifest(std::string_view json);

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_MANIFEST_H_
