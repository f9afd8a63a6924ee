#include "server/rpc/security/tokens.h"

#include <string>

#include "gtest/gtest.h"
#include "server/bundle/sha256.h"

namespace octet::rpc {
namespace {

std::string Line(const std::string& name, const std::string& role,
                 const std::string& token) {
  return name + " " + role + " " + *bundle::Sha256(token) + "\n";
}

TEST(TokenTable, FindsTokensByWhatTheyAreNotByHowTheyBegin) {
  const auto table =
      TokenTable::Parse("# comment\n\n" + Line("ci", "infer", "alpha") + "\t" +
                        Line("ops", "admin", "beta"));
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->size(), 2);
  ASSERT_NE(table->Find("alpha"), nullptr);
  EXPECT_EQ(table->Find("alpha")->name, "ci");
  EXPECT_EQ(table->Find("alpha")->role, Role::kInfer);
  EXPECT_EQ(table->Find("beta")->role, Role::kAdmin);
  for (const char* wrong : {"", "alph", "alpha ", "Alpha", "ci"}) {
    EXPECT_EQ(table->Find(wrong), nullptr) << wrong;
  }
}

TEST(TokenTable, ErrorsNameTheLineAndNotItsText) {
  const std::string good = Line("ci", "infer", "alpha");
  for (const std::string& bad :
       {std::string("ops admin secret-token\n"), std::string("ops admin\n"),
        Line("ops", "root", "beta"), Line("o/ps", "admin", "beta"),
        Line("ci", "admin", "beta"), Line("ops", "admin", "alpha"),
        Line("ops", "admin", "beta").insert(3, " x")}) {
    const auto table = TokenTable::Parse(good + bad);
    ASSERT_FALSE(table.ok()) << bad;
    const std::string message(table.status().message());
    EXPECT_EQ(message.find("line 2: "), 0) << message;
    EXPECT_EQ(message.find("secret"), std::string::npos) << message;
  }
}

TEST(TokenTable, AFileThatLetsNobodyInIsAnError) {
  EXPECT_FALSE(TokenTable::Parse("# nobody\n").ok());
  EXPECT_FALSE(TokenTable::Parse("").ok());
}

TEST(BearerToken, IsTheRestOfTheHeader) {
  EXPECT_EQ(BearerToken("Bearer abc"), "abc");
  EXPECT_EQ(BearerToken("bearer abc"), "abc");
  for (const char* other : {"", "Bearer", "Bearer ", "Basic abc", "abc"}) {
    EXPECT_EQ(BearerToken(other), "") << other;
  }
  EXPECT_EQ(BearerToken("Bearer " + std::string(5000, 'x')), "");
}

}  // namespace
}  // namespace octet::rpc
