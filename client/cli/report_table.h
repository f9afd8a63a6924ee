// A quantization report as text: what happened in a few sentences, a table of
// the layers, and what the whole model lost.

#ifndef OCTET_CLIENT_CLI_REPORT_TABLE_H_
#define OCTET_CLIENT_CLI_REPORT_TABLE_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "octet/v1/bundle_service.pb.h"

namespace octet::cli {

struct ReportStyle {
  size_t width = 80;
  bool exact_bytes = false;
};

// No line is wider than the style's width, 60 or more.
std::string ReportText(const v1::QuantizationReport& report,
                       const ReportStyle& style);

// Breaks at spaces; words longer than `width` stay whole. Lines after the first
// begin with `indent`. Ends with a newline.
std::string Wrap(absl::string_view text, size_t width,
                 absl::string_view indent);

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_REPORT_TABLE_H_
