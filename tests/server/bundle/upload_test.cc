#include "server/bundle/upload.h"

#include "server/bundle/sha256.h"
#include "tests/server/bundle/support.h"

namespace octet::bundle {
namespace {

using absl::StatusCode;

UploadFile File(std::string path, uint64_t size_bytes,
                std::string sha256 = "") {
  return {std::move(path), size_bytes, std::move(sha256), 0};
}

absl::Status Send(Upload& upload, std::string_view path, uint64_t offset,
                  std::string_view data) {
  return upload.Append(path, offset, data, Crc32c(data));
}

// RFC 3720, appendix B.4.
TEST(Crc32c, MatchesTheStandardsExamples) {
  std::string up, down;
  for (int i = 0; i < 32; ++i) {
    up.push_back(static_cast<char>(i));
    down.insert(down.begin(), static_cast<char>(i));
  }
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62A8AB43U);
  EXPECT_EQ(Crc32c(up), 0x46DD794EU);
  EXPECT_EQ(Crc32c(down), 0x113FDB5CU);
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(Crc32c(""), 0U);
}

TEST(Upload, BringsFilesWhole) {
  const TempDir dir;
  auto upload = Upload::Begin(
      dir.path(),
      {File("a/config.json", 6, *Sha256("abcdef")), File("empty", 0)}, {});
  ASSERT_THAT(upload, IsOk());
  EXPECT_FALSE(upload->complete());
  EXPECT_THAT(Send(*upload, "a/config.json", 0, "abc"), IsOk());
  EXPECT_THAT(upload->Verify(),
              Fails(StatusCode::kFailedPrecondition, "3 of 6 bytes"));
  EXPECT_THAT(Send(*upload, "a/config.json", 3, "def"), IsOk());
  EXPECT_TRUE(upload->complete());
  EXPECT_THAT(upload->Verify(), IsOk());
  EXPECT_EQ(ReadFile(dir / "a/config.json"), "abcdef");
  EXPECT_TRUE(std::filesystem::exists(dir / "empty"));
  EXPECT_THAT(Upload::Forget(dir.path()), IsOk());
  EXPECT_FALSE(std::filesystem::exists(dir / ".upload.json"));
}

TEST(Upload, RefusesBadDeclarations) {
  const std::string digest(64, '0');
  const struct {
    const char* name;
    std::vector<UploadFile> files;
    StatusCode code;
    const char* message;
  } cases[] = {
      {"none", {}, StatusCode::kInvalidArgument, "at least one"},
      {"escape",
       {File("../x", 0)},
       StatusCode::kInvalidArgument,
       "files[0].path"},
      {"absolute",
       {File("/x", 0)},
       StatusCode::kInvalidArgument,
       "files[0].path"},
      {"ours",
       {File(".upload.json", 0)},
       StatusCode::kInvalidArgument,
       "reserved"},
      {"ours aside",
       {File(".upload.json.tmp", 0)},
       StatusCode::kInvalidArgument,
       "reserved"},
      {"twice",
       {File("a", 0), File("a", 0)},
       StatusCode::kInvalidArgument,
       "twice"},
      {"file and directory",
       {File("a/b/c", 0), File("a-", 0), File("a/b", 0)},
       StatusCode::kInvalidArgument,
       "'a/b' is declared as a file and as a directory"},
      {"digest",
       {File("a", 1, "XYZ")},
       StatusCode::kInvalidArgument,
       "files[0].sha256"},
      {"too many",
       {File("a", 0), File("b", 0), File("c", 0), File("d", 0)},
       StatusCode::kResourceExhausted,
       "at most 3"},
      {"too large",
       {File("a", 101)},
       StatusCode::kResourceExhausted,
       "100 bytes"},
      {"sum overflows",
       {File("a", 100), File("b", ~uint64_t{0})},
       StatusCode::kResourceExhausted,
       "100 bytes"},
  };
  for (const auto& bad : cases) {
    SCOPED_TRACE(bad.name);
    const TempDir dir;
    EXPECT_THAT(Upload::Begin(dir.path(), bad.files,
                              {.max_total_bytes = 100, .max_files = 3}),
                Fails(bad.code, bad.message));
    EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  }
}

TEST(Upload, RefusesBadChunksAndKeepsWhatCame) {
  const TempDir dir;
  auto upload = Upload::Begin(dir.path(), {File("a", 6)}, {});
  ASSERT_THAT(upload, IsOk());
  ASSERT_THAT(Send(*upload, "a", 0, "ab"), IsOk());
  EXPECT_THAT(Send(*upload, "b", 0, "x"), Fails(StatusCode::kNotFound, "'b'"));
  EXPECT_THAT(Send(*upload, "a", 4, "ef"),
              Fails(StatusCode::kOutOfRange, "continues at offset 2"));
  EXPECT_THAT(Send(*upload, "a", 0, "ab"),
              Fails(StatusCode::kOutOfRange, "continues at offset 2"));
  EXPECT_THAT(Send(*upload, "a", 2, "cdefg"),
              Fails(StatusCode::kOutOfRange, "declared with 6 bytes"));
  EXPECT_THAT(upload->Append("a", 2, "cd", 0x12345678),
              Fails(StatusCode::kDataLoss, "12345678"));
  EXPECT_EQ(ReadFile(dir / "a"), "ab");
  EXPECT_THAT(Send(*upload, "a", 2, "cdef"), IsOk());
  EXPECT_TRUE(upload->complete());
}

TEST(Upload, ResumesWhereItBroke) {
  const TempDir dir;
  const std::vector<UploadFile> files = {File("a", 6), File("b", 3)};
  {
    auto first = Upload::Begin(dir.path(), files, {});
    ASSERT_THAT(first, IsOk());
    ASSERT_THAT(Send(*first, "a", 0, "abcd"), IsOk());
  }
  const auto inspected = Upload::Inspect(dir.path());
  ASSERT_THAT(inspected, IsOk());
  EXPECT_EQ((*inspected)[0].received_bytes, 4);
  EXPECT_EQ((*inspected)[1].received_bytes, 0);

  auto again = Upload::Begin(dir.path(), {files[1], files[0]}, {});
  ASSERT_THAT(again, IsOk()) << "the order of declaration does not matter";
  EXPECT_THAT(Send(*again, "a", 4, "ef"), IsOk());
  EXPECT_THAT(Send(*again, "b", 0, "xyz"), IsOk());
  EXPECT_THAT(again->Verify(), IsOk());
  EXPECT_EQ(ReadFile(dir / "a"), "abcdef");
}

TEST(Upload, DoesNotResumeAnother) {
  const TempDir dir;
  ASSERT_THAT(Upload::Begin(dir.path(), {File("a", 6)}, {}), IsOk());
  EXPECT_THAT(Upload::Begin(dir.path(), {File("a", 7)}, {}),
              Fails(StatusCode::kFailedPrecondition, "other files"));
  EXPECT_THAT(Upload::Begin(dir.path(), {File("b", 6)}, {}),
              Fails(StatusCode::kFailedPrecondition, "other files"));
}

TEST(Upload, TwoConnectionsCanNotInterleave) {
  const TempDir dir;
  const std::vector<UploadFile> files = {File("a", 4)};
  auto one = Upload::Begin(dir.path(), files, {});
  auto two = Upload::Begin(dir.path(), files, {});
  ASSERT_THAT(one, IsOk());
  ASSERT_THAT(two, IsOk());
  EXPECT_THAT(Send(*one, "a", 0, "ab"), IsOk());
  EXPECT_THAT(Send(*two, "a", 0, "ab"),
              Fails(StatusCode::kOutOfRange, "continues at offset 2"));
  EXPECT_THAT(Send(*two, "a", 2, "cd"), IsOk());
  EXPECT_THAT(one->Verify(), IsOk());
  EXPECT_EQ(ReadFile(dir / "a"), "abcd");
}

TEST(Upload, AWrongDigestLetsTheFileBeSentAgain) {
  const TempDir dir;
  auto upload = Upload::Begin(dir.path(), {File("a", 3, *Sha256("abc"))}, {});
  ASSERT_THAT(upload, IsOk());
  ASSERT_THAT(Send(*upload, "a", 0, "abX"), IsOk());
  EXPECT_THAT(upload->Verify(), Fails(StatusCode::kDataLoss, "'a'"));
  EXPECT_THAT(Send(*upload, "a", 0, "abc"), IsOk());
  EXPECT_THAT(upload->Verify(), IsOk());
}

TEST(Upload, IsResumableUntilItsStateIsForgotten) {
  const TempDir dir;
  const std::vector<UploadFile> files = {File("a", 3, *Sha256("abc"))};
  auto upload = Upload::Begin(dir.path(), files, {});
  ASSERT_THAT(upload, IsOk());
  ASSERT_THAT(Send(*upload, "a", 0, "abc"), IsOk());
  ASSERT_THAT(upload->Verify(), IsOk());
  auto again = Upload::Begin(dir.path(), files, {});
  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again->complete());
  EXPECT_THAT(again->Verify(), IsOk());
  EXPECT_THAT(Upload::Forget(dir.path()), IsOk());
  EXPECT_THAT(Upload::Forget(dir.path()), IsOk()) << "it is idempotent";
  EXPECT_THAT(Upload::Inspect(dir.path()), Fails(StatusCode::kNotFound, ""));
  EXPECT_EQ(ReadFile(dir / "a"), "abc");
}

TEST(Upload, StartsCleanOnceTheStateIsGone) {
  const TempDir dir;
  WriteFile(dir / "left/over", "x");
  ASSERT_THAT(Upload::Begin(dir.path(), {File("a", 1)}, {}), IsOk());
  EXPECT_FALSE(std::filesystem::exists(dir / "left"));
}

TEST(Upload, ADamagedStateIsDataLoss) {
  for (const char* state : {"", "{}", R"({"files":[{"path":"../x"}]})",
                            R"({"files":[{"path":"../x","size_bytes":1,)"
                            R"("sha256":""}]})"}) {
    const TempDir dir;
    WriteFile(dir / ".upload.json", state);
    EXPECT_THAT(Upload::Inspect(dir.path()), Fails(StatusCode::kDataLoss, ""));
  }
  const TempDir dir;
  EXPECT_THAT(Upload::Inspect(dir.path()), Fails(StatusCode::kNotFound, ""));
}

}  // namespace
}  // namespace octet::bundle
