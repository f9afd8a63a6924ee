#include "client/cli/inputs.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "client/cli/npy.h"
#include "client/lib/status_macros.h"

namespace octet::cli {

absl::StatusOr<std::unique_ptr<InputReader>> InputReader::Open(
    const std::string& path, std::function<bool()> interrupted) {
  std::unique_ptr<InputReader> reader(new InputReader());
  if (absl::EndsWith(path, ".npy")) {
    ASSIGN_OR_RETURN(reader->rows_, ReadNpy(path));
    return reader;
  }
  ASSIGN_OR_RETURN(reader->buffer_,
                   InputBuffer::Open(path, std::move(interrupted)));
  reader->stream_.rdbuf(reader->buffer_.get());
  reader->lines_.emplace(reader->stream_);
  return reader;
}

absl::StatusOr<std::optional<v1::ModelInputs>> InputReader::Next(
    size_t max_samples) {
  v1::ModelInputs inputs;
  if (lines_.has_value()) {
    absl::StatusOr<v1::TokenBatch> batch = lines_->Next(max_samples);
    // Before what is wrong with a line that was cut off.
    RETURN_IF_ERROR(buffer_->status());
    ASSIGN_OR_RETURN(*inputs.mutable_tokens(), std::move(batch));
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
