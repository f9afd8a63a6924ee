#include "server/bundle/archive.h"

#include <archive.h>
#include <archive_entry.h>

#include "tests/server/bundle/support.h"

namespace octet::bundle {
namespace {

using absl::StatusCode;

constexpr uint64_t kPlenty = uint64_t{1} << 30;

std::string Archive(const std::filesystem::path& directory) {
  std::string bytes;
  const absl::Status status =
      WriteArchive(directory, [&](const ArchivePiece& piece) {
        bytes.append(piece.bytes);
        return absl::OkStatus();
      });
  EXPECT_THAT(status, IsOk());
  return bytes;
}

absl::Status Unpack(const TempDir& dir, std::string_view bytes,
                    uint64_t max_bytes = kPlenty) {
  WriteFile(dir / "in.tar", bytes);
  std::filesystem::create_directory(dir / "out");
  return ReadArchive(dir / "in.tar", dir / "out", max_bytes);
}

// An entry as a stranger's tar would write it.
struct Member {
  std::string path;
  std::string data;
  unsigned type = AE_IFREG;
  std::string link = "";
  bool hard = false;
};

std::string Tar(const std::vector<Member>& members,
                int format = ARCHIVE_FORMAT_TAR_PAX_RESTRICTED) {
  std::string bytes(1 << 20, '\0');
  size_t used = 0;
  archive* writer = archive_write_new();
  archive_write_set_format(writer, format);
  archive_write_set_bytes_in_last_block(writer, 1);
  archive_write_open_memory(writer, bytes.data(), bytes.size(), &used);
  for (const Member& member : members) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, member.path.c_str());
    archive_entry_set_filetype(entry, member.type);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, static_cast<int64_t>(member.data.size()));
    if (member.hard) archive_entry_set_hardlink(entry, member.link.c_str());
    if (member.type == AE_IFLNK) {
      archive_entry_set_symlink(entry, member.link.c_str());
    }
    archive_write_header(writer, entry);
    archive_write_data(writer, member.data.data(), member.data.size());
    archive_entry_free(entry);
  }
  archive_write_close(writer);
  archive_write_free(writer);
  return bytes.substr(0, used);
}

void MakeExample(const std::filesystem::path& directory) {
  WriteFile(directory / "b.bin", std::string(300'001, 'b'));
  WriteFile(directory / "a.json", "{}");
  WriteFile(directory / "1_Pooling/config.json", "[]");
  WriteFile(directory / "empty", "");
}

TEST(Archive, WhatIsPackedIsUnpacked) {
  const TempDir dir;
  MakeExample(dir / "in");
  ASSERT_THAT(Unpack(dir, Archive(dir / "in")), IsOk());
  EXPECT_EQ(ReadFile(dir / "out/b.bin"), std::string(300'001, 'b'));
  EXPECT_EQ(ReadFile(dir / "out/1_Pooling/config.json"), "[]");
  EXPECT_TRUE(std::filesystem::exists(dir / "out/empty"));
}

TEST(Archive, EqualDirectoriesGiveEqualBytes) {
  const TempDir dir;
  MakeExample(dir / "one");
  WriteFile(dir / "two/empty",
            "");  // made in another order and at a later time
  MakeExample(dir / "two");
  std::filesystem::last_write_time(
      dir / "two/a.json",
      std::filesystem::file_time_type::clock::now() - std::chrono::hours(9));
  std::filesystem::permissions(dir / "two/a.json",
                               std::filesystem::perms::owner_all);
  EXPECT_EQ(Archive(dir / "one"), Archive(dir / "two"));
}

TEST(Archive, FilesAreNotCopied) {
  const TempDir dir;
  MakeExample(dir / "in");
  std::vector<size_t> sizes;
  std::shared_ptr<const MappedFile> last;
  std::string_view bytes;
  ASSERT_THAT(WriteArchive(dir / "in",
                           [&](const ArchivePiece& piece) {
                             if (piece.file == nullptr) return absl::OkStatus();
                             EXPECT_EQ(
                                 static_cast<const void*>(piece.bytes.data()),
                                 piece.file->bytes().data());
                             sizes.push_back(piece.bytes.size());
                             last = piece.file;
                             bytes = piece.bytes;
                             return absl::OkStatus();
                           }),
              IsOk());
  EXPECT_EQ(sizes, (std::vector<size_t>{2, 2, 300'001}));
  // Kept after the call, and after the file is deleted.
  std::filesystem::remove_all(dir / "in");
  EXPECT_EQ(bytes, std::string(300'001, 'b'));
}

TEST(Archive, TheSinksErrorStopsTheWriting) {
  const TempDir dir;
  MakeExample(dir / "in");
  int calls = 0;
  EXPECT_THAT(WriteArchive(dir / "in",
                           [&](const ArchivePiece&) {
                             ++calls;
                             return absl::CancelledError("client left");
                           }),
              Fails(StatusCode::kCancelled, "client left"));
  EXPECT_EQ(calls, 1);
}

TEST(Archive, DoesNotFollowLinksWhenPacking) {
  const TempDir dir;
  std::filesystem::create_directory(dir / "in");
  std::filesystem::create_symlink("/etc/passwd", dir / "in/link");
  EXPECT_THAT(
      WriteArchive(dir / "in",
                   [](const ArchivePiece&) { return absl::OkStatus(); }),
      Fails(StatusCode::kInvalidArgument, "'link'"));
}

TEST(Archive, RefusesHostileEntries) {
  const struct {
    const char* name;
    std::vector<Member> members;
    const char* message;
  } cases[] = {
      {"parent", {{"../x", "1"}}, "'..'"},
      {"parent inside", {{"a/../../x", "1"}}, "'..'"},
      {"absolute", {{"/tmp/x", "1"}}, "empty component"},
      {"dot", {{"./x", "1"}}, "'.'"},
      {"long", {{std::string(300, 'a'), "1"}}, "255"},
      {"odd characters", {{"a b", "1"}}, "character"},
      {"symlink", {{"x", "", AE_IFLNK, "/etc/passwd"}}, "is a link"},
      {"hard link", {{"a", "1"}, {"x", "", AE_IFREG, "a", true}}, "is a link"},
      {"character device", {{"x", "", AE_IFCHR}}, "not a regular file"},
      {"block device", {{"x", "", AE_IFBLK}}, "not a regular file"},
      {"fifo", {{"x", "", AE_IFIFO}}, "not a regular file"},
      {"duplicate", {{"x", "1"}, {"x", "2"}}, "'x' occurs twice"},
      {"file, then below it", {{"x", "1"}, {"x/y", "2"}}, "'x/y'"},
      {"below, then the file", {{"x/y", "2"}, {"x", "1"}}, "'x'"},
      {"bad directory", {{"../d/", "", AE_IFDIR}}, "'..'"},
  };
  for (const auto& hostile : cases) {
    SCOPED_TRACE(hostile.name);
    const TempDir dir;
    EXPECT_THAT(Unpack(dir, Tar(hostile.members)),
                Fails(StatusCode::kInvalidArgument, hostile.message));
    EXPECT_FALSE(std::filesystem::exists(dir / "x"));
  }
}

TEST(Archive, TakesDirectoriesAndOtherTarDialects) {
  for (const int format :
       {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE,
        ARCHIVE_FORMAT_TAR_GNUTAR}) {
    const TempDir dir;
    EXPECT_THAT(Unpack(dir, Tar({{"d/", "", AE_IFDIR}, {"d/x", "1"}}, format)),
                IsOk());
    EXPECT_EQ(ReadFile(dir / "out/d/x"), "1");
  }
}

TEST(Archive, RefusesWhatIsNoTar) {
  for (const std::string& bytes :
       {std::string(), std::string("x"), std::string(5000, 'x'),
        std::string("\x1f\x8b\x08\0\0\0\0\0", 8) + std::string(600, '\0')}) {
    const TempDir dir;
    EXPECT_THAT(Unpack(dir, bytes), Fails(StatusCode::kInvalidArgument, ""));
  }
}

TEST(Archive, EveryTruncationIsRefused) {
  // The second file is zeros, as the end of an archive is.
  const std::string whole =
      Tar({{"a", "12345"}, {"zeros", std::string(2048, '\0')}});
  {
    const TempDir dir;
    ASSERT_THAT(Unpack(dir, whole), IsOk());
  }
  for (size_t size = 0; size < whole.size(); size += 128) {
    SCOPED_TRACE(size);
    const TempDir dir;
    EXPECT_THAT(Unpack(dir, whole.substr(0, size)),
                Fails(StatusCode::kInvalidArgument, ""));
  }
}

TEST(Archive, RefusesBytesAfterTheEnd) {
  const std::string whole = Tar({{"a", "12345"}});
  const TempDir dir;
  EXPECT_THAT(Unpack(dir, whole + std::string(8192, '\0')), IsOk())
      << "padding to tar's record size is part of the format";
  for (const std::string& more :
       {std::string("x"), std::string(512, 'x'), Tar({{"b", "1"}}),
        std::string(1024, '\0') + std::string(512, 'x')}) {
    const TempDir fresh;
    EXPECT_THAT(Unpack(fresh, whole + more),
                Fails(StatusCode::kInvalidArgument, "archive: "));
  }
}

TEST(Archive, StopsAtTheByteLimit) {
  const std::string whole = Tar({{"a", "12345"}, {"b", "67890"}});
  const TempDir enough, little;
  EXPECT_THAT(Unpack(enough, whole, 10), IsOk());
  EXPECT_THAT(Unpack(little, whole, 9),
              Fails(StatusCode::kResourceExhausted, "9 bytes"));
}

TEST(Archive, StopsAtTooManyEntries) {
  std::vector<Member> members;
  for (int i = 0; i < 1500; ++i) members.push_back({std::to_string(i), ""});
  std::string bytes;
  for (int i = 0; i < 3; ++i) {
    for (Member& member : members) member.path = "n" + member.path;
    const std::string part = Tar(members);
    bytes.append(part.substr(0, part.size() - 1024));
  }
  const TempDir dir;
  EXPECT_THAT(Unpack(dir, bytes + std::string(1024, '\0')),
              Fails(StatusCode::kResourceExhausted, "entries"));
}

}  // namespace
}  // namespace octet::bundle
