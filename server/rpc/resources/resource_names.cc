#include "server/rpc/resources/resource_names.h"

#include <charconv>
#include <system_error>

#include "kernels/status_macros.h"
#include "server/bundle/directory_store.h"
#include "server/bundle/io.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/status.h"

namespace octet::rpc {

std::string ResourceName(std::string_view collection, std::string_view id) {
  return model::StrCat(collection, "/", id);
}

absl::StatusOr<std::string> ParseName(std::string_view field,
                                      std::string_view collection,
                                      std::string_view name) {
  if (!name.starts_with(collection) ||
      !name.substr(collection.size()).starts_with('/')) {
    return FieldViolation(
        field, model::StrCat(bundle::Quoted(name), " must be '", collection,
                             "/{id}'"));
  }
  const std::string_view id = name.substr(collection.size() + 1);
  RETURN_IF_ERROR(bundle::ValidateId(field, id));
  return std::string(id);
}

absl::StatusOr<ModelName> ParseModelName(std::string_view field,
                                         std::string_view name) {
  constexpr std::string_view kVersions = "/versions/";
  const size_t at = name.find(kVersions);
  ModelName parsed;
  ASSIGN_OR_RETURN(parsed.id, ParseName(field, kModels, name.substr(0, at)));
  if (at == std::string_view::npos) return parsed;
  const std::string_view number = name.substr(at + kVersions.size());
  int64_t version = 0;
  const auto [end, error] =
      std::from_chars(number.data(), number.data() + number.size(), version);
  if (error != std::errc() || end != number.data() + number.size() ||
      version < 1) {
    return FieldViolation(field,
                          model::StrCat(bundle::Quoted(name),
                                        " must be 'models/{id}' or "
                                        "'models/{id}/versions/{number}'"));
  }
  parsed.version = version;
  return parsed;
}

}  // namespace octet::rpc
