#include "client/lib/checkpoint_files.h"

#include <string>
#include <vector>

#include "client/lib/digest.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/lib/temporary_directory.h"

namespace octet::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> Paths(const std::vector<v1::UploadedFile>& files) {
  std::vector<std::string> paths;
  for (const auto& file : files) paths.push_back(file.path());
  return paths;
}

absl::Status Hashed(int64_t, int64_t) { return absl::OkStatus(); }

TEST(CheckpointFiles, TakesWeightsConfigurationAndTokenizerOnly) {
  const TemporaryDirectory directory;
  for (const char* name :
       {"config.json", "model.safetensors", "vocab.txt", "README.md",
        "pytorch_model.bin", ".gitattributes", ".cache/x.json",
        "1_Pooling/config.json", "onnx/deep/er.json"}) {
    directory.Write(name, name);
  }
  const auto files = ListCheckpointFiles(directory.path(), Hashed);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(Paths(*files), ElementsAre("1_Pooling/config.json", "config.json",
                                         "model.safetensors", "vocab.txt"));
  EXPECT_EQ((*files)[1].size_bytes(), 11);
  EXPECT_EQ((*files)[1].sha256().size(), 64u);
}

TEST(CheckpointFiles, FollowsTheLinksOfTheHuggingFaceCache) {
  const TemporaryDirectory blobs;
  const TemporaryDirectory snapshot;
  snapshot.Write("config.json", "{}");
  std::filesystem::create_symlink(blobs.Write("8f3a", "weights"),
                                  snapshot.path() / "model.safetensors");
  const auto files = ListCheckpointFiles(snapshot.path(), Hashed);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ((*files)[1].size_bytes(), 7);
}

TEST(CheckpointFiles, SaysWhatACheckpointLacks) {
  const TemporaryDirectory directory;
  directory.Write("model.safetensors", "");
  EXPECT_THAT(
      std::string(
          ListCheckpointFiles(directory.path(), Hashed).status().message()),
      HasSubstr("config.json"));
  EXPECT_FALSE(ListCheckpointFiles(directory.path() / "nowhere", Hashed).ok());
}

TEST(CheckpointFiles, SaysHowFarHashingIsAndStopsWhenTold) {
  const TemporaryDirectory directory;
  directory.Write("config.json", "{}");
  directory.Write("model.safetensors", std::string(5 << 20, 'w'));
  const int64_t all = (5 << 20) + 2;
  std::vector<int64_t> seen;
  const auto files =
      ListCheckpointFiles(directory.path(), [&](int64_t done, int64_t total) {
        EXPECT_EQ(total, all);
        seen.push_back(done);
        return absl::OkStatus();
      });
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_GT(seen.size(), 5u);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(seen.back(), all);
  EXPECT_TRUE(absl::IsCancelled(
      ListCheckpointFiles(directory.path(), [](int64_t, int64_t) {
        return absl::CancelledError("enough");
      }).status()));
}

TEST(ReadChunks, CoversTheFileFromTheOffsetInOrder) {
  const TemporaryDirectory directory;
  std::string bytes(2 * kChunkBytes + 5, 'a');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = char(i % 251);
  const auto path = directory.Write("weights", bytes);
  const int64_t start = 3;
  std::string read;
  const absl::Status status =
      ReadChunks(path, start, int64_t(bytes.size()), [&](Chunk chunk) {
        EXPECT_EQ(chunk.offset, start + int64_t(read.size()));
        EXPECT_LE(chunk.data.size(), kChunkBytes);
        EXPECT_EQ(chunk.crc32c, Crc32c(chunk.data));
        read += chunk.data;
        return true;
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(read, bytes.substr(start));
}

TEST(ReadChunks, StopsWhenTheSinkDoesAndFailsWhenTheFileShrank) {
  const TemporaryDirectory directory;
  const auto path = directory.Write("weights", std::string(10, 'x'));
  int calls = 0;
  EXPECT_TRUE(ReadChunks(path, 0, 10, [&](Chunk) {
                ++calls;
                return false;
              }).ok());
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(
      absl::IsDataLoss(ReadChunks(path, 0, 11, [](Chunk) { return true; })));
  EXPECT_TRUE(ReadChunks(path, 10, 10, [&](Chunk) {
                ADD_FAILURE() << "a chunk of nothing";
                return true;
              }).ok());
}

}  // namespace
}  // namespace octet::client
