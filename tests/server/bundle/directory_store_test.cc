#include "server/bundle/directory_store.h"

#include "tests/server/bundle/support.h"

namespace octet::bundle {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(ValidateId, TakesNamesThatAreSafeEverywhere) {
  for (const std::string& good :
       {std::string("a"), std::string("mini-lm-6"), std::string(63, 'z')}) {
    EXPECT_THAT(ValidateId("f", good), IsOk());
  }
  for (const std::string& bad :
       {std::string(), std::string("-a"), std::string("a-"), std::string("A"),
        std::string("a.b"), std::string("a/b"), std::string(".."),
        std::string(64, 'z'), std::string("a\0b", 3),
        std::string("\xc3\xa4")}) {
    EXPECT_THAT(ValidateId("bundle_id", bad),
                Fails(StatusCode::kInvalidArgument, "bundle_id: "))
        << bad;
  }
}

TEST(ValidateRelativePath, KeepsInsideTheDirectory) {
  for (const char* good :
       {"config.json", "1_Pooling/config.json", "a/b/c/d", "..x", "a..b"}) {
    EXPECT_THAT(ValidateRelativePath("f", good), IsOk()) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string("/a"), std::string("a/"),
        std::string("a//b"), std::string("."), std::string("./a"),
        std::string("../a"), std::string("a/../b"), std::string("a/.."),
        std::string("a\\b"), std::string("a b"), std::string("a\nb"),
        std::string("a\0b", 3), std::string("a/b/c/d/e"), std::string(256, 'a'),
        std::string("C:")}) {
    EXPECT_THAT(ValidateRelativePath("files[0].path", bad),
                Fails(StatusCode::kInvalidArgument, "files[0].path: "))
        << bad;
  }
}

TEST(DirectoryStore, PublishesWhole) {
  const TempDir dir;
  const auto store = DirectoryStore::Open(dir / "new/store", "bundle");
  ASSERT_THAT(store, IsOk());
  const auto staged = store->Stage("b-1");
  ASSERT_THAT(staged, IsOk());
  WriteFile(*staged / "sub/file", "x");
  EXPECT_TRUE(store->IsStaged("b-1"));
  EXPECT_THAT(store->ListStaged(), ElementsAre("b-1"));
  EXPECT_THAT(store->List(), IsEmpty());
  EXPECT_THAT(store->Find("b-1"),
              Fails(StatusCode::kNotFound, "bundle 'b-1' does not exist"));

  EXPECT_THAT(store->Publish("b-1"), IsOk());
  EXPECT_FALSE(store->IsStaged("b-1"));
  EXPECT_THAT(store->List(), ElementsAre("b-1"));
  ASSERT_THAT(store->Find("b-1"), IsOk());
  EXPECT_EQ(ReadFile(*store->Find("b-1") / "sub/file"), "x");
  EXPECT_THAT(store->Stage("b-1"), Fails(StatusCode::kAlreadyExists, "'b-1'"));
  EXPECT_THAT(store->Publish("b-1"), Fails(StatusCode::kNotFound, "'b-1'"));
}

TEST(DirectoryStore, NeverReplacesWhatIsPublished) {
  const TempDir dir;
  const auto store = DirectoryStore::Open(dir.path(), "bundle");
  ASSERT_THAT(store, IsOk());
  WriteFile(*store->Stage("b") / "file", "second");
  WriteFile(dir / "b/file", "first");  // another process was quicker
  EXPECT_THAT(store->Publish("b"), Fails(StatusCode::kAlreadyExists, "'b'"));
  EXPECT_EQ(ReadFile(dir / "b/file"), "first");
}

TEST(DirectoryStore, StagedDirectoriesSurviveAReopen) {
  const TempDir dir;
  {
    const auto store = DirectoryStore::Open(dir.path(), "checkpoint");
    ASSERT_THAT(store, IsOk());
    WriteFile(*store->Stage("half") / "file", "abc");
  }
  const auto store = DirectoryStore::Open(dir.path(), "checkpoint");
  ASSERT_THAT(store, IsOk());
  EXPECT_THAT(store->ListStaged(), ElementsAre("half"));
  EXPECT_EQ(ReadFile(*store->Stage("half") / "file"), "abc");
  EXPECT_THAT(store->Discard("half"), IsOk());
  EXPECT_THAT(store->Discard("half"), IsOk()) << "it is idempotent";
  EXPECT_THAT(store->ListStaged(), IsEmpty());
}

TEST(DirectoryStore, LookingForAStagedDirectoryMakesNone) {
  const TempDir dir;
  const auto store = DirectoryStore::Open(dir.path(), "checkpoint");
  ASSERT_THAT(store, IsOk());
  EXPECT_THAT(store->FindStaged("c"), Fails(StatusCode::kNotFound, "'c'"));
  EXPECT_TRUE(std::filesystem::is_empty(dir / ".staging"));
  const auto staged = store->Stage("c");
  ASSERT_THAT(staged, IsOk());
  ASSERT_THAT(store->FindStaged("c"), IsOk());
  EXPECT_EQ(*store->FindStaged("c"), *staged);
  EXPECT_THAT(store->FindStaged(".."), Fails(StatusCode::kInvalidArgument, ""));
}

TEST(DirectoryStore, RemovesAndTakesTheNameAgain) {
  const TempDir dir;
  const auto store = DirectoryStore::Open(dir.path(), "bundle");
  ASSERT_THAT(store, IsOk());
  WriteFile(*store->Stage("b") / "file", "x");
  ASSERT_THAT(store->Publish("b"), IsOk());
  EXPECT_THAT(store->Remove("b"), IsOk());
  EXPECT_THAT(store->Remove("b"), Fails(StatusCode::kNotFound, "'b'"));
  EXPECT_THAT(store->List(), IsEmpty());
  EXPECT_TRUE(std::filesystem::is_empty(dir / ".trash"));
  EXPECT_THAT(store->Stage("b"), IsOk());
}

TEST(DirectoryStore, HidesAtOnceAndReclaimsLater) {
  const TempDir dir;
  const auto store = DirectoryStore::Open(dir.path(), "bundle");
  ASSERT_THAT(store, IsOk());
  EXPECT_THAT(store->Hide("b"), Fails(StatusCode::kNotFound, "'b'"));
  WriteFile(*store->Stage("b") / "file", "x");
  ASSERT_THAT(store->Publish("b"), IsOk());
  const auto hidden = store->Hide("b");
  ASSERT_THAT(hidden, IsOk());
  EXPECT_THAT(store->Find("b"), Fails(StatusCode::kNotFound, "'b'"));
  EXPECT_EQ(ReadFile(*hidden / "file"), "x");
  EXPECT_THAT(store->Reclaim(*hidden), IsOk());
  EXPECT_TRUE(std::filesystem::is_empty(dir / ".trash"));
}

TEST(DirectoryStore, BlamesTheDiskForWhatWasPublishedRight) {
  const TempDir dir;
  const auto store = DirectoryStore::Open(dir.path(), "bundle");
  ASSERT_THAT(store, IsOk());
  const absl::Status wrong = absl::InvalidArgumentError("octet.json: is cut");
  EXPECT_THAT(store->WhyUnreadable("b", wrong),
              Fails(StatusCode::kNotFound, "'b'"));
  WriteFile(*store->Stage("b") / "file", "x");
  ASSERT_THAT(store->Publish("b"), IsOk());
  EXPECT_THAT(store->WhyUnreadable("b", wrong),
              Fails(StatusCode::kDataLoss, "bundle 'b' is damaged"));
  EXPECT_THAT(store->WhyUnreadable("b", wrong),
              Fails(StatusCode::kDataLoss, "octet.json: is cut"));
  EXPECT_THAT(store->WhyUnreadable("b", absl::NotFoundError("a tensor")),
              Fails(StatusCode::kDataLoss, "a tensor"));
  EXPECT_THAT(store->WhyUnreadable("b", absl::FailedPreconditionError("old")),
              Fails(StatusCode::kFailedPrecondition, "old"));
}

TEST(DirectoryStore, EmptiesTheTrashOfACrashedRemove) {
  const TempDir dir;
  WriteFile(dir / ".trash/b.1/file", "x");
  ASSERT_THAT(DirectoryStore::Open(dir.path(), "bundle"), IsOk());
  EXPECT_TRUE(std::filesystem::is_empty(dir / ".trash"));
}

TEST(DirectoryStore, ListsOnlyDirectoriesWithGoodNames) {
  const TempDir dir;
  const auto store = DirectoryStore::Open(dir.path(), "bundle");
  ASSERT_THAT(store, IsOk());
  std::filesystem::create_directory(dir / "lost+found");
  std::filesystem::create_directory(dir / "b");
  std::filesystem::create_directory(dir / "a");
  std::filesystem::create_directory_symlink("/", dir / "link");
  WriteFile(dir / "file", "");
  EXPECT_THAT(store->List(), ElementsAre("a", "b"));
  EXPECT_THAT(store->Find("../b"), Fails(StatusCode::kInvalidArgument, ""));
  EXPECT_THAT(store->Find("link"), Fails(StatusCode::kNotFound, ""));
}

}  // namespace
}  // namespace octet::bundle
