#include "server/model/json_fields.h"

#include <cmath>
#include <cstdint>
#include <utility>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"

namespace octet::model {
namespace {

using nlohmann::json;

// A value as the message quotes it, cut short when it is long.
std::string Quote(const json& value) {
  constexpr size_t kLongest = 40;
  if (value.is_structured()) return value.is_array() ? "an array" : "an object";
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

}  // namespace

absl::StatusOr<json> ParseJson(const ConfigFiles& files,
                               std::string_view file) {
  const auto found = files.find(std::string(file));
  if (found == files.end()) {
    return absl::InvalidArgumentError(
        StrCat("the checkpoint has no file '", file, "'"));
  }
  json value = json::parse(found->second, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) {
    return absl::InvalidArgumentError(StrCat(file, ": not valid JSON"));
  }
  return value;
}

absl::StatusOr<JsonFields> JsonFields::Parse(const ConfigFiles& files,
                                             std::string_view file) {
  ASSIGN_OR_RETURN(json value, ParseJson(files, file));
  if (!value.is_object()) {
    return absl::InvalidArgumentError(
        StrCat(file, ": must be a JSON object; it is ", Quote(value)));
  }
  return JsonFields(std::string(file), std::move(value));
}

absl::Status JsonFields::Error(std::string_view field,
                               std::string_view complaint) const {
  return absl::InvalidArgumentError(
      StrCat(file_, ": '", field, "' ", complaint));
}

absl::StatusOr<const json*> JsonFields::Find(std::string_view field) const {
  const auto found = object_.find(std::string(field));
  if (found == object_.end()) return Error(field, "is missing");
  return &*found;
}

absl::Status JsonFields::WrongValue(std::string_view field,
                                    std::string_view expected) const {
  return Error(field, StrCat("is ", Quote(object_[std::string(field)]),
                             "; it must be ", expected));
}

bool JsonFields::Has(std::string_view field) const {
  const auto found = object_.find(std::string(field));
  return found != object_.end() && !found->is_null();
}

absl::StatusOr<size_t> JsonFields::Size(std::string_view field, size_t min,
                                        size_t max) const {
  ASSIGN_OR_RETURN(const json* value, Find(field));
  // Not unsigned means negative, fractional or no number at all.
  if (value->is_number_unsigned()) {
    const auto number = value->get<uint64_t>();
    if (number >= min && number <= max) return static_cast<size_t>(number);
  }
  return WrongValue(field, StrCat("an integer from ", min, " to ", max));
}

absl::StatusOr<float> JsonFields::PositiveFloat(std::string_view field,
                                                float fallback) const {
  if (!Has(field)) return fallback;
  ASSIGN_OR_RETURN(const json* value, Find(field));
  if (value->is_number()) {
    const auto number = static_cast<float>(value->get<double>());
    if (std::isfinite(number) && number > 0.0F) return number;
  }
  return WrongValue(field, "a positive number");
}

absl::StatusOr<std::string> JsonFields::Text(std::string_view field) const {
  ASSIGN_OR_RETURN(const json* value, Find(field));
  if (!value->is_string()) return WrongValue(field, "a string");
  return value->get<std::string>();
}

absl::StatusOr<std::vector<std::string>> JsonFields::Texts(
    std::string_view field) const {
  ASSIGN_OR_RETURN(const json* value, Find(field));
  if (!value->is_array()) return WrongValue(field, "an array of strings");
  std::vector<std::string> texts;
  for (const json& element : *value) {
    if (!element.is_string()) {
      return Error(field, StrCat("has ", Quote(element), " at index ",
                                 texts.size(), "; it must be a string"));
    }
    texts.push_back(element.get<std::string>());
  }
  return texts;
}

absl::StatusOr<bool> JsonFields::Flag(std::string_view field,
                                      bool fallback) const {
  if (!Has(field)) return fallback;
  ASSIGN_OR_RETURN(const json* value, Find(field));
  if (!value->is_boolean()) return WrongValue(field, "true or false");
  return value->get<bool>();
}

}  // namespace octet::model
