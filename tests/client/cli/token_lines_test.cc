#include "client/cli/token_lines.h"

#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(TokenLines, GroupsSequencesIntoBatchesWithoutPadding) {
  std::istringstream input(
      "{\"ids\": [1, 2, 3]}\n\n{\"ids\": [4], \"text\": \"x\"}\n"
      "{\"ids\": [5, 6]}");
  TokenLineReader reader(input);
  const auto first = reader.Next(2);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_THAT(first->ids(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(first->lengths(), ElementsAre(3, 1));
  const auto second = reader.Next(2);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_THAT(second->ids(), ElementsAre(5, 6));
  EXPECT_THAT(reader.Next(2)->lengths(), IsEmpty());
}

TEST(TokenLines, NamesTheLineAndTheId) {
  for (const char* line :
       {"not json", "[1, 2]", "{}", "{\"ids\": []}", "{\"ids\": 5}"}) {
    std::istringstream input(std::string("{\"ids\": [1]}\n") + line);
    const auto batch = TokenLineReader(input).Next(10);
    EXPECT_TRUE(absl::IsInvalidArgument(batch.status())) << line;
    EXPECT_THAT(std::string(batch.status().message()), HasSubstr("line 2"));
  }
  for (const char* id : {"-1", "1.5", "\"7\"", "null", "2147483648", "1e99"}) {
    std::istringstream input(std::string("{\"ids\": [1, ") + id + "]}");
    const auto batch = TokenLineReader(input).Next(10);
    EXPECT_THAT(std::string(batch.status().message()), HasSubstr("ids[1]"))
        << id;
  }
}

}  // namespace
}  // namespace octet::cli
