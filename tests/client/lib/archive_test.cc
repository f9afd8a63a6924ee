#include "client/lib/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

#include <string>

#include "gtest/gtest.h"
#include "tests/client/lib/temporary_directory.h"

namespace octet::client {
namespace {

// A tar with one entry.
void WriteTar(const std::filesystem::path& path, const char* name,
              unsigned type) {
  archive* out = archive_write_new();
  archive_write_set_format_pax_restricted(out);
  ASSERT_EQ(archive_write_open_filename(out, path.c_str()), ARCHIVE_OK);
  archive_entry* entry = archive_entry_new();
  archive_entry_set_pathname(entry, name);
  archive_entry_set_filetype(entry, type);
  if (type == AE_IFLNK) archive_entry_set_symlink(entry, "/etc/passwd");
  archive_entry_set_size(entry, 0);
  archive_entry_set_perm(entry, 0644);
  archive_write_header(out, entry);
  archive_entry_free(entry);
  archive_write_free(out);
}

TEST(Archive, UnpackGivesBackWhatPackTook) {
  const TemporaryDirectory source;
  const std::string big(700'000, 'b');
  source.Write("octet.json", "{}");
  source.Write("1_Pooling/config.json", "[]");
  source.Write("model.safetensors", big);
  const TemporaryDirectory scratch;
  ASSERT_TRUE(Pack(source.path(), scratch.path() / "b.tar", GoOn).ok());
  ASSERT_TRUE(
      Unpack(scratch.path() / "b.tar", scratch.path() / "out", GoOn).ok());
  EXPECT_EQ(ReadAll(scratch.path() / "out/octet.json"), "{}");
  EXPECT_EQ(ReadAll(scratch.path() / "out/1_Pooling/config.json"), "[]");
  EXPECT_EQ(ReadAll(scratch.path() / "out/model.safetensors"), big);
}

TEST(Archive, IsCancelledBetweenBlocks) {
  const TemporaryDirectory source;
  const TemporaryDirectory scratch;
  source.Write("weights", std::string(5 << 20, 'w'));
  const auto tar = scratch.path() / "b.tar";
  ASSERT_TRUE(Pack(source.path(), tar, GoOn).ok());
  int blocks = 0;
  const auto cancel = [&](int64_t) {
    return ++blocks < 2 ? absl::OkStatus() : absl::CancelledError("enough");
  };
  EXPECT_TRUE(absl::IsCancelled(Unpack(tar, scratch.path() / "out", cancel)));
  EXPECT_EQ(blocks, 2);
  blocks = 0;
  EXPECT_TRUE(absl::IsCancelled(Pack(source.path(), tar, cancel)));
  EXPECT_EQ(blocks, 2);
}

TEST(Archive, PackNamesTheFileItCannotRead) {
  using std::filesystem::perms;
  const TemporaryDirectory source;
  const TemporaryDirectory scratch;
  const auto locked = source.Write("weights", "w");
  std::filesystem::permissions(locked, perms::none);
  // Root reads everything, so this is tried as somebody else.
  std::filesystem::permissions(source.path(), perms::all);
  std::filesystem::permissions(scratch.path(), perms::all);
  const bool root = geteuid() == 0;
  ASSERT_EQ(root ? seteuid(65534) : 0, 0);
  const absl::Status status =
      Pack(source.path(), scratch.path() / "b.tar", GoOn);
  ASSERT_EQ(root ? seteuid(0) : 0, 0);
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_EQ(status.message(),
            "cannot read " + locked.string() + ": Permission denied");
}

TEST(Archive, UnpackWritesNothingOutsideItsDirectory) {
  const TemporaryDirectory scratch;
  const auto tar = scratch.path() / "b.tar";
  for (const char* name : {"../escaped", "/tmp/octet-escaped", "a/../../e"}) {
    WriteTar(tar, name, AE_IFREG);
    EXPECT_TRUE(
        absl::IsInvalidArgument(Unpack(tar, scratch.path() / "out", GoOn)))
        << name;
  }
  EXPECT_FALSE(std::filesystem::exists(scratch.path() / "escaped"));
}

TEST(Archive, UnpackRefusesLinksAndGarbage) {
  const TemporaryDirectory scratch;
  const auto tar = scratch.path() / "b.tar";
  WriteTar(tar, "link", AE_IFLNK);
  EXPECT_TRUE(
      absl::IsInvalidArgument(Unpack(tar, scratch.path() / "out", GoOn)));
  const auto garbage = scratch.Write("g.tar", std::string(4096, 'g'));
  EXPECT_TRUE(
      absl::IsInvalidArgument(Unpack(garbage, scratch.path() / "out", GoOn)));
}

}  // namespace
}  // namespace octet::client
