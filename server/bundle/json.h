// JSON from strangers, parsed without exceptions.
//
// Before a document is built its text is walked once: nesting deeper than
// kMaxJsonDepth, a key twice in one object, and anything that is not JSON are
// INVALID_ARGUMENT, so that what follows never recurses over hostile depth and
// two readers never disagree about which of two values counts.

#ifndef OCTET_SERVER_BUNDLE_JSON_H_
#define OCTET_SERVER_BUNDLE_JSON_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"

namespace octet::bundle {

inline constexpr size_t kMaxJsonDepth = 32;

// `what` is how messages call the document: "config.json".
absl::Status CheckJson(std::string_view what, std::string_view text);

// Json is nlohmann::json, or nlohmann::ordered_json where the order of keys
// is to be kept.
template <typename Json = nlohmann::json>
absl::StatusOr<Json> ParseJson(std::string_view what, std::string_view text) {
  RETURN_IF_ERROR(CheckJson(what, text));
  return Json::parse(text, /*cb=*/nullptr, /*allow_exceptions=*/false);
}

// Text of `json`; bytes that are not UTF-8 become U+FFFD.
template <typename Json>
std::string JsonText(const Json& json, int indent) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false,
                   Json::error_handler_t::replace);
}

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_JSON_H_
