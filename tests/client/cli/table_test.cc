#include "client/cli/table.h"

#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

Table Layers() {
  Table table({{"LAYER", Align::kLeft, /*shrinks=*/true},
               {"SQNR", Align::kRight},
               {"WHY", Align::kLeft, true, /*optional=*/true}});
  table.AddRow({"encoder.layer.0.attention.self.query", "42.1", ""});
  table.AddRow({"encoder.layer.11.output.dense", "7.5", "kept by keep_last"});
  return table;
}

size_t WidestLine(const std::string& text) {
  std::istringstream lines(text);
  size_t widest = 0;
  for (std::string line; std::getline(lines, line);) {
    widest = std::max(widest, line.size());
  }
  return widest;
}

TEST(Table, AlignsNumbersRightAndLeavesNoTrailingSpaces) {
  EXPECT_EQ(Layers().Render(0),
            "LAYER                                 SQNR  WHY\n"
            "encoder.layer.0.attention.self.query  42.1\n"
            "encoder.layer.11.output.dense          7.5  kept by keep_last\n");
}

TEST(Table, FitsEveryWidthThatItsFixedColumnsAllow) {
  for (size_t width = 15; width < 80; ++width) {
    EXPECT_LE(WidestLine(Layers().Render(width)), width) << width;
  }
}

TEST(Table, DropsOptionalColumnsBeforeItShortensNames) {
  const std::string without = Layers().Render(50);
  EXPECT_THAT(without, Not(HasSubstr("WHY")));
  EXPECT_THAT(without, HasSubstr("encoder.layer.0.attention.self.query"));
  const std::string narrow = Layers().Render(20);
  EXPECT_THAT(narrow, HasSubstr("..."));
  EXPECT_THAT(narrow, HasSubstr("42.1"));
}

TEST(ShortenMiddle, KeepsBothEnds) {
  EXPECT_EQ(ShortenMiddle("encoder.layer.0.output", 13), "encod...utput");
  EXPECT_EQ(ShortenMiddle("short", 5), "short");
  EXPECT_EQ(ShortenMiddle("shorter", 6), "sh...r");
  EXPECT_EQ(ShortenMiddle("abc", 2), "ab");
  EXPECT_EQ(ShortenMiddle("abc", 0), "");
}

}  // namespace
}  // namespace octet::cli
