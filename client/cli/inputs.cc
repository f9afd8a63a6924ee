#include "client/cli/inputs.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iostream>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/npy.h"
#include "client/lib/file_errors.h"
#include "client/lib/status_macros.h"

namespace octet::cli {

absl::StatusOr<std::unique_ptr<InputReader>> InputReader::Open(
    const std::string& path) {
  std::unique_ptr<InputReader> reader(new InputReader());
  if (absl::EndsWith(path, ".npy")) {
    ASSIGN_OR_RETURN(reader->rows_, ReadNpy(path));
    return reader;
  }
  if (path == "-") {
    reader->lines_.emplace(std::cin);
    return reader;
  }
  if (std::error_code error; std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is a directory"));
  }
  errno = 0;
  reader->file_.open(path);
  if (!reader->file_) return client::CannotRead(path, errno);
  reader->lines_.emplace(reader->file_);
  return reader;
}

absl::StatusOr<std::optional<v1::ModelInputs>> InputReader::Next(
    size_t max_samples) {
  v1::ModelInputs inputs;
  if (lines_.has_value()) {
    ASSIGN_OR_RETURN(*inputs.mutable_tokens(), lines_->Next(max_samples));
    if (inputs.tokens().lengths().empty()) return std::nullopt;
    return inputs;
  }
  const int64_t rows =
      std::min(static_cast<int64_t>(max_samples), rows_->rows - next_row_);
  if (rows <= 0) return std::nullopt;
  client::Matrix part{rows, rows_->columns, {}};
  const auto first = rows_->values.begin() + next_row_ * rows_->columns;
  part.values.assign(first, first + rows * rows_->columns);
  next_row_ += rows;
  *inputs.mutable_features() = client::ToTensor(part);
  return inputs;
}

}  // namespace octet::cli
