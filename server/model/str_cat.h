// absl::StrCat for std::string_view too. Debian 12 builds Abseil with a
// string_view of its own, to which std::string_view does not convert.

#ifndef OCTET_SERVER_MODEL_STR_CAT_H_
#define OCTET_SERVER_MODEL_STR_CAT_H_

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace octet::model {
namespace str_cat_internal {

template <typename T>
const T& Piece(const T& value) {
  return value;  // NOLINT(bugprone-return-const-ref-from-parameter)
}
inline absl::string_view Piece(const std::string_view& text) {
  return {text.data(), text.size()};
}

}  // namespace str_cat_internal

template <typename... Pieces>
std::string StrCat(const Pieces&... pieces) {
  return absl::StrCat(str_cat_internal::Piece(pieces)...);
}

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_STR_CAT_H_
