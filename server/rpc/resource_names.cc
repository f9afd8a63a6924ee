#include "server/rpc/resource_names.h"

#include "kernels/status_macros.h"
#include "server/bundle/directory_store.h"
#include "server/bundle/io.h"
#include "server/model/str_cat.h"
#include "server/rpc/status.h"

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

}  // namespace octet::rpc
