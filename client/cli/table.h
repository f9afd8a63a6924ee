// Tables that fit the terminal.
//
//   LAYER                    SCHEME        SQNR
//   encoder.l...uery         w8a8_dynamic  42.1
//
// When a row is wider than the width, optional columns go first, the last one
// first; then shrinkable columns lose the middle of their cells, because layer
// names differ at both ends.

#ifndef OCTET_CLIENT_CLI_TABLE_H_
#define OCTET_CLIENT_CLI_TABLE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace octet::cli {

enum class Align { kLeft, kRight };

struct Column {
  std::string header;
  Align align = Align::kLeft;
  bool shrinks = false;
  bool optional = false;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns);

  // As many cells as there are columns; missing ones are empty.
  void AddRow(std::vector<std::string> cells);

  // Every line ends with a newline and has no trailing spaces. Width 0 is
  // unlimited.
  std::string Render(size_t width) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// "encoder.layer.0.output" to "encod...utput": at most `width` characters.
std::string ShortenMiddle(absl::string_view text, size_t width);

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_TABLE_H_
