#include "server/bundle/report_page.h"

#include <array>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "kernels/status_macros.h"
#include "server/bundle/json.h"
#include "server/bundle/json_schema.h"
#include "server/bundle/report_fields.h"
#include "server/bundle/report_page_parts.h"
#include "server/bundle/report_summary.h"
#include "server/bundle/sha256.h"
#include "server/model/str_cat.h"

namespace octet::bundle {
namespace {

using nlohmann::ordered_json;

// Text between tags or in a quoted attribute.
std::string EscapeHtml(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"},
                                    {"<", "&lt;"},
                                    {">", "&gt;"},
                                    {"\"", "&quot;"},
                                    {"'", "&#39;"}});
}

// In JSON these occur in strings only, where an escape means the same.
std::string EscapeJson(const std::string& json) {
  return absl::StrReplaceAll(
      json, {{"&", "\\u0026"}, {"<", "\\u003c"}, {">", "\\u003e"}});
}

std::string Data(std::string_view title, const Manifest& manifest) {
  QuantizationReport report = manifest.report;  // Fields could fill it in, too
  const ordered_json data = {
      {"bundle", title},
      {"family", manifest.family},
      {"compressed_tensors", manifest.compressed_tensors},
      {"provenance",
       {{"checkpoint", manifest.provenance.checkpoint},
        {"calibration", manifest.provenance.calibration},
        {"octet_version", manifest.provenance.octet_version},
        {"create_time", manifest.provenance.create_time}}},
      {"report", JsonWriter::Object(report)}};
  return EscapeJson(JsonText(data, -1));
}

// "'sha256-..'": the one script, or style, that may run.
absl::StatusOr<std::string> Source(std::string_view text) {
  ASSIGN_OR_RETURN(const std::string digest, Sha256(text));
  return model::StrCat("'sha256-",
                       absl::Base64Escape(absl::HexStringToBytes(digest)), "'");
}

absl::StatusOr<std::string> Policy() {
  ASSIGN_OR_RETURN(const std::string style, Source(kReportStyle));
  ASSIGN_OR_RETURN(const std::string script, Source(kReportScript));
  return model::StrCat("default-src 'none'; img-src data:; style-src ", style,
                       "; script-src ", script,
                       "; base-uri 'none'; form-action 'none'");
}

}  // namespace

absl::StatusOr<std::string> ReportPage(std::string_view title,
                                       const Manifest& manifest) {
  ASSIGN_OR_RETURN(const std::string policy, Policy());
  // One pass: what is put in is not looked at again.
  return absl::StrReplaceAll(
      kReportHtml, {{"{{policy}}", policy},
                    {"{{title}}", EscapeHtml(std::string(title))},
                    {"{{style}}", kReportStyle},
                    {"{{summary}}", EscapeHtml(Summary(manifest.report))},
                    {"{{data}}", Data(title, manifest)},
                    {"{{script}}", kReportScript}});
}

}  // namespace octet::bundle
