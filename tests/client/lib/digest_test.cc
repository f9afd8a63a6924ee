#include "client/lib/digest.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/client/lib/temporary_directory.h"

namespace octet::client {
namespace {

TEST(Digest, Crc32cHasTheCheckValueOfTheStandard) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
  // RFC 3720, B.4: 32 bytes of zeros, 32 bytes of ones.
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
}

TEST(Digest, Sha256IsLowerCaseHexadecimalOfTheWholeFile) {
  const TemporaryDirectory directory;
  EXPECT_EQ(*Sha256OfFile(directory.Write("abc", "abc"), GoOn),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(*Sha256OfFile(directory.Write("empty", ""), GoOn),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_TRUE(
      absl::IsNotFound(Sha256OfFile(directory.path() / "none", GoOn).status()));
}

TEST(Digest, Sha256IsCancelledBetweenBlocks) {
  const TemporaryDirectory directory;
  const auto path = directory.Write("weights", std::string(5 << 20, 'w'));
  int64_t seen = 0;
  const auto cancelled = Sha256OfFile(path, [&](int64_t bytes) {
    seen += bytes;
    return absl::CancelledError("enough");
  });
  EXPECT_TRUE(absl::IsCancelled(cancelled.status()));
  EXPECT_GT(seen, 0);
  EXPECT_LT(seen, 5 << 20);
}

}  // namespace
}  // namespace octet::client
