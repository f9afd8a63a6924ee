#include "client/cli/table.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

namespace octet::cli {
namespace {

constexpr size_t kGap = 2;
// Below this a shortened name says nothing: "enc...ery".
constexpr size_t kNarrowest = 9;

size_t TotalWidth(const std::vector<size_t>& shown,
                  const std::vector<size_t>& widths) {
  size_t total = shown.empty() ? 0 : kGap * (shown.size() - 1);
  for (const size_t column : shown) total += widths[column];
  return total;
}

// Characters that shrinking can still gain.
size_t Slack(const std::vector<Column>& columns,
             const std::vector<size_t>& shown,
             const std::vector<size_t>& widths) {
  size_t gain = 0;
  for (const size_t i : shown) {
    if (columns[i].shrinks && widths[i] > kNarrowest) {
      gain += widths[i] - kNarrowest;
    }
  }
  return gain;
}

void DropOptional(const std::vector<Column>& columns,
                  const std::vector<size_t>& widths, size_t width,
                  std::vector<size_t>* shown) {
  for (size_t i = columns.size(); i-- > 0;) {
    if (TotalWidth(*shown, widths) <= width) return;
    if (columns[i].optional) {
      shown->erase(std::find(shown->begin(), shown->end(), i));
    }
  }
}

// The widest column gives way first, one character at a time.
void Shrink(const std::vector<Column>& columns,
            const std::vector<size_t>& shown, size_t width,
            std::vector<size_t>* widths) {
  while (TotalWidth(shown, *widths) > width &&
         Slack(columns, shown, *widths) > 0) {
    size_t widest = columns.size();
    for (const size_t i : shown) {
      if (columns[i].shrinks &&
          (widest == columns.size() || (*widths)[i] > (*widths)[widest])) {
        widest = i;
      }
    }
    --(*widths)[widest];
  }
}

void AppendCell(const Column& column, const std::string& cell, size_t width,
                std::string* line) {
  const std::string text = ShortenMiddle(cell, width);
  const std::string padding(width - text.size(), ' ');
  *line += column.align == Align::kRight ? padding + text : text + padding;
}

}  // namespace

std::string ShortenMiddle(absl::string_view text, size_t width) {
  if (text.size() <= width) return std::string(text);
  constexpr absl::string_view kDots = "...";
  if (width <= kDots.size()) return std::string(text.substr(0, width));
  const size_t kept = width - kDots.size();
  const size_t head = (kept + 1) / 2;
  return absl::StrCat(text.substr(0, head), kDots,
                      text.substr(text.size() - (kept - head)));
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::AddRow(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::Render(size_t width) const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(column.header.size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::vector<size_t> shown(columns_.size());
  std::iota(shown.begin(), shown.end(), size_t{0});
  if (width > 0) {
    DropOptional(columns_, widths, width, &shown);
    Shrink(columns_, shown, width, &widths);
  }
  std::string text;
  const auto append = [&](const auto& cell_of) {
    std::string line;
    for (const size_t i : shown) {
      if (i != shown.front()) line.append(kGap, ' ');
      AppendCell(columns_[i], cell_of(i), widths[i], &line);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  };
  append([&](size_t i) { return columns_[i].header; });
  for (const auto& row : rows_) append([&](size_t i) { return row[i]; });
  return text;
}

}  // namespace octet::cli
