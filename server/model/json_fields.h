// Fields of a JSON object somebody sent us, read with limits.
//
// Every error is INVALID_ARGUMENT and names file and field:
//   config.json: 'hidden_size' is -384; it must be an integer from 1 to 65536

#ifndef OCTET_SERVER_MODEL_JSON_FIELDS_H_
#define OCTET_SERVER_MODEL_JSON_FIELDS_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "server/model/importer.h"

namespace octet::model {

class JsonFields {
 public:
  // The file must be there and hold one JSON object.
  static absl::StatusOr<JsonFields> Parse(const ConfigFiles& files,
                                          std::string_view file);

  JsonFields(std::string file, nlohmann::json object)
      : file_(std::move(file)), object_(std::move(object)) {}

  bool Has(std::string_view field) const;  // there, and not null

  absl::StatusOr<size_t> Size(std::string_view field, size_t min,
                              size_t max) const;
  // Finite and positive.
  absl::StatusOr<float> PositiveFloat(std::string_view field,
                                      float fallback) const;
  absl::StatusOr<std::string> Text(std::string_view field) const;
  absl::StatusOr<std::vector<std::string>> Texts(std::string_view field) const;
  absl::StatusOr<bool> Flag(std::string_view field, bool fallback) const;

  // An error of this file about `field`, for checks that callers make.
  absl::Status Error(std::string_view field, std::string_view complaint) const;

 private:
  absl::StatusOr<const nlohmann::json*> Find(std::string_view field) const;
  absl::Status WrongValue(std::string_view field,
                          std::string_view expected) const;

  std::string file_;
  nlohmann::json object_;
};

// The file as any JSON value; INVALID_ARGUMENT when it is missing or malformed.
absl::StatusOr<nlohmann::json> ParseJson(const ConfigFiles& files,
                                         std::string_view file);

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_JSON_FIELDS_H_
