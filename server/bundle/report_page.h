// The report as one HTML page: plots, tables and the terms they use. It needs
// no other file and asks no network: style, script and data are inside, and its
// content security policy forbids everything else.
//
// Names come from strangers. In the page they are HTML text, escaped, or JSON
// in which no character can end its element; the script shows them as text.

#ifndef OCTET_SERVER_BUNDLE_REPORT_PAGE_H_
#define OCTET_SERVER_BUNDLE_REPORT_PAGE_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/bundle/manifest.h"

namespace octet::bundle {

// `title` is what people call the bundle.
absl::StatusOr<std::string> ReportPage(std::string_view title,
                                       const Manifest& manifest);

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_REPORT_PAGE_H_
