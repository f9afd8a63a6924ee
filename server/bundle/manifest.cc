#include "server/bundle/manifest.h"

#include <cmath>

#include "absl/status/status.h"
#include "kernels/status_macros.h"
#include "server/bundle/directory_store.h"
#include "server/bundle/io.h"
#include "server/bundle/json.h"
#include "server/bundle/json_schema.h"
#include "server/bundle/report_fields.h"
#include "server/bundle/sha256.h"
#include "server/model/str_cat.h"

namespace octet::bundle {

template <typename V>
void Fields(V& v, model::LinearScheme& scheme) {
  v("scheme", scheme.scheme);
  v("outlier_threshold", scheme.outlier_threshold);
  v("group_size", scheme.group_size);
  v("hadamard_block", scheme.hadamard_block);
  v("smoothed", scheme.smoothed);
}

template <typename V>
void Fields(V& v, LayerRange& range) {
  v("rows", range.rows);
  v("min", range.min);
  v("max", range.max);
  v("absmax", range.absmax);
  v("sigma", range.sigma);
}

template <typename V>
void Fields(V& v, Provenance& provenance) {
  v("checkpoint", provenance.checkpoint);
  v("calibration", provenance.calibration);
  v("octet_version", provenance.octet_version);
  v("create_time", provenance.create_time);
}

template <typename V>
void Fields(V& v, FileDigest& digest) {
  v("size_bytes", digest.size_bytes);
  v("sha256", digest.sha256);
}

template <typename V>
void Fields(V& v, Manifest& manifest) {
  v("format_version", manifest.format_version);
  v("family", manifest.family);
  v("plan", manifest.plan);
  v("statistics", manifest.statistics);
  v("report", manifest.report);
  v("provenance", manifest.provenance);
  v("compressed_tensors", manifest.compressed_tensors);
  v("files", manifest.files);
}

namespace {

using nlohmann::json;

constexpr std::string_view kFile = "octet.json";

// What the types alone do not say.
absl::Status CheckValues(const Manifest& manifest) {
  for (const auto& [layer, scheme] : manifest.plan) {
    if (const absl::Status status = model::Validate(scheme); !status.ok()) {
      return absl::InvalidArgumentError(model::StrCat(
          kFile, ": plan.", layer, ".", std::string(status.message())));
    }
  }
  for (const auto& [path, digest] : manifest.files) {
    RETURN_IF_ERROR(
        ValidateRelativePath(model::StrCat(kFile, ": files"), path));
    if (path == kFile) {
      return absl::InvalidArgumentError(
          model::StrCat(kFile, ": files: the manifest can not list itself"));
    }
    if (!IsSha256(digest.sha256)) {
      return absl::InvalidArgumentError(
          model::StrCat(kFile, ": files.", path,
                        ".sha256: must be 64 characters of [0-9a-f]"));
    }
  }
  return absl::OkStatus();
}

// Before all else: a later version may have other fields.
absl::Status CheckVersion(const json& document) {
  if (!document.is_object()) {
    return absl::InvalidArgumentError(
        model::StrCat(kFile, ": must be an object"));
  }
  const auto version = document.find("format_version");
  if (version == document.end() || !version->is_number_integer()) {
    return absl::InvalidArgumentError(
        model::StrCat(kFile, ": format_version: must be an integer"));
  }
  if (*version != kFormatVersion) {
    return absl::FailedPreconditionError(model::StrCat(
        kFile, ": format_version: this server reads ", kFormatVersion, ", not ",
        version->dump(), "; quantize the checkpoint again"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string ToJson(const Manifest& manifest) {
  Manifest copy = manifest;  // Fields takes what it could also fill in
  return model::StrCat(JsonText(JsonWriter::Object(copy), 2), "\n");
}

absl::StatusOr<Manifest> ParseManifest(std::string_view text) {
  ASSIGN_OR_RETURN(const json document, ParseJson(kFile, text));
  RETURN_IF_ERROR(CheckVersion(document));
  Manifest manifest;
  absl::Status status;
  JsonReader::Object(kFile, document, "", manifest, status);
  RETURN_IF_ERROR(status);
  RETURN_IF_ERROR(CheckValues(manifest));
  return manifest;
}

}  // namespace octet::bundle
