#include "client/cli/token_lines.h"

#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/lib/status_macros.h"
#include "nlohmann/json.hpp"

namespace octet::cli {
namespace {

using nlohmann::json;

absl::Status AddSequence(const std::string& line, v1::TokenBatch* batch) {
  const json document =
      json::parse(line, /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (!document.is_object() || !document.contains("ids") ||
      !document["ids"].is_array() || document["ids"].empty()) {
    return absl::InvalidArgumentError(
        "expected a JSON object such as {\"ids\": [101, 7592, 102]}");
  }
  const json& ids = document["ids"];
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool fits =
        ids[i].is_number_unsigned() &&
        ids[i].get<uint64_t>() <= std::numeric_limits<int32_t>::max();
    if (!fits) {
      return absl::InvalidArgumentError(absl::StrCat(
          "ids[", i, "] is ", ids[i].dump(), ", which is no token id"));
    }
    batch->add_ids(ids[i].get<int32_t>());
  }
  batch->add_lengths(static_cast<int32_t>(ids.size()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::TokenBatch> TokenLineReader::Next(size_t max_sequences) {
  v1::TokenBatch batch;
  std::string line;
  while (static_cast<size_t>(batch.lengths_size()) < max_sequences &&
         std::getline(input_, line)) {
    ++line_number_;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    const absl::Status added = AddSequence(line, &batch);
    if (!added.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", line_number_, ": ", added.message()));
    }
  }
  return batch;
}

}  // namespace octet::cli
