#include "client/lib/scratch_directory.h"

#include <filesystem>
#include <utility>

#include "gtest/gtest.h"
#include "tests/client/lib/temporary_directory.h"

namespace octet::client {
namespace {

namespace fs = std::filesystem;

size_t Entries(const fs::path& directory) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(directory),
                                           fs::directory_iterator()));
}

TEST(ScratchDirectory, IsNewEmptyAndBesideItsTarget) {
  const TemporaryDirectory home;
  for (const char* target : {"bundle", "bundle/"}) {
    const auto one = ScratchDirectory::Beside(home.path() / target);
    const auto other = ScratchDirectory::Beside(home.path() / target);
    ASSERT_TRUE(one.ok() && other.ok()) << one.status() << other.status();
    EXPECT_EQ(one->path().parent_path(), home.path());
    EXPECT_NE(one->path(), other->path());
    EXPECT_EQ(Entries(one->path()), 0u);
  }
}

TEST(ScratchDirectory, GoesWithWhatIsInItAndLeavesWhatWasMovedOut) {
  const TemporaryDirectory home;
  const fs::path target = home.path() / "bundle/";
  {
    auto made = ScratchDirectory::Beside(target);
    ASSERT_TRUE(made.ok()) << made.status();
    const ScratchDirectory scratch = *std::move(made);
    fs::create_directory(scratch.path() / "whole");
    fs::create_directories(scratch.path() / "rest/of/it");
    EXPECT_TRUE(MoveTo(scratch.path() / "whole", target).ok());
  }
  EXPECT_TRUE(fs::is_directory(target));
  EXPECT_EQ(Entries(home.path()), 1u);
}

TEST(ScratchDirectory, SaysWhyThereCanBeNone) {
  const TemporaryDirectory home;
  EXPECT_TRUE(
      absl::IsAlreadyExists(ScratchDirectory::Beside(home.path()).status()));
  const absl::Status status =
      ScratchDirectory::Beside(home.path() / "nowhere/bundle").status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_NE(status.message().find("nowhere/.bundle"), std::string::npos);
}

TEST(ScratchDirectory, OfTheSystemIsGoneAfterUse) {
  fs::path path;
  {
    const auto scratch = ScratchDirectory::Temporary();
    ASSERT_TRUE(scratch.ok()) << scratch.status();
    path = scratch->path();
    EXPECT_EQ(path.parent_path(), fs::temp_directory_path());
  }
  EXPECT_FALSE(fs::exists(path));
}

}  // namespace
}  // namespace octet::client
