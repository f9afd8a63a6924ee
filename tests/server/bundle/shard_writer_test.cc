#include "server/bundle/shard_writer.h"

#include <algorithm>

#include "nlohmann/json.hpp"
#include "tests/server/bundle/support.h"

namespace octet::bundle {
namespace {

using absl::StatusCode;
using model::DataType;
using testing::ElementsAre;

std::vector<TensorInfo> FourTensors() {
  return {{"a", DataType::kU8, {4}},
          {"b", DataType::kU8, {0}},
          {"c", DataType::kU8, {2, 3}},
          {"d", DataType::kU8, {20}}};
}

absl::Status WriteTo(const TempDir& directory, uint64_t max_bytes) {
  auto writer = ShardWriter::Create(directory.path(), FourTensors(),
                                    {{"format", "pt"}}, max_bytes);
  if (!writer.ok()) return writer.status();
  absl::Status status = (*writer)->Append("a", Bytes("aaaa"));
  status.Update((*writer)->Append("b", Bytes("")));
  status.Update((*writer)->Append("c", Bytes("cc")));
  status.Update((*writer)->Append("c", Bytes("cccc")));
  status.Update((*writer)->Append("d", Bytes("dddddddddddddddddddd")));
  status.Update((*writer)->Finish());
  return status;
}

std::vector<std::string> FilesIn(const TempDir& directory) {
  std::vector<std::string> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(directory.path())) {
    files.push_back(entry.path().filename());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string TextOf(const model::TensorSource& tensors, std::string_view name) {
  const auto tensor = tensors.Find(name);
  EXPECT_THAT(tensor, IsOk());
  return {reinterpret_cast<const char*>(tensor->bytes.data()),
          tensor->bytes.size()};
}

TEST(ShardWriter, WhatFitsIsOneFileWithoutAnIndex) {
  const TempDir directory;
  ASSERT_THAT(WriteTo(directory, 30), IsOk());
  EXPECT_THAT(FilesIn(directory), ElementsAre("model.safetensors"));
}

TEST(ShardWriter, LongerOnesAreDividedAndReadBackByTheIndex) {
  const TempDir directory;
  ASSERT_THAT(WriteTo(directory, 10), IsOk());
  EXPECT_THAT(FilesIn(directory),
              ElementsAre("model-00001-of-00002.safetensors",
                          "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json"));
  const auto tensors = OpenSafetensors(directory.path());
  ASSERT_THAT(tensors, IsOk());
  EXPECT_THAT((*tensors)->Names(), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(TextOf(**tensors, "a"), "aaaa");
  EXPECT_EQ(TextOf(**tensors, "b"), "");
  EXPECT_EQ(TextOf(**tensors, "c"), "cccccc");
  EXPECT_EQ(TextOf(**tensors, "d"), "dddddddddddddddddddd");
  const auto index = nlohmann::json::parse(
      ReadFile(directory / "model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], 30);
  EXPECT_EQ(index["weight_map"]["c"], "model-00001-of-00002.safetensors");
  EXPECT_EQ(index["weight_map"]["d"], "model-00002-of-00002.safetensors");
}

TEST(ShardWriter, AShardIsNeverEmptyAndATensorNeverDivided) {
  const auto shards = DivideIntoShards(FourTensors(), 1);
  ASSERT_EQ(shards.size(), 3);
  EXPECT_EQ(shards[0].size(), 2);  // "b" takes no room
  EXPECT_EQ(shards[1].size(), 1);
  EXPECT_EQ(shards[2].size(), 1);
}

TEST(ShardWriter, MoreShardsThanAReaderTakesAreRefused) {
  const TempDir directory;
  const std::vector<TensorInfo> many(kMaxShards + 1, {"t", DataType::kU8, {2}});
  EXPECT_THAT(ShardWriter::Create(directory.path(), many, {}, 1),
              Fails(StatusCode::kInvalidArgument, "max_shard_bytes: 1 would"));
  EXPECT_TRUE(FilesIn(directory).empty());
}

TEST(ShardWriter, AnIndexIsOnlyWrittenWhenEverythingCame) {
  const TempDir directory;
  auto writer = ShardWriter::Create(directory.path(), FourTensors(), {}, 10);
  ASSERT_THAT(writer, IsOk());
  ASSERT_THAT((*writer)->Append("a", Bytes("aaaa")), IsOk());
  EXPECT_THAT((*writer)->Append("c", Bytes("cccccc")),
              Fails(StatusCode::kInvalidArgument, "out of turn"));
  EXPECT_THAT((*writer)->Finish(),
              Fails(StatusCode::kInvalidArgument, "tensor 'b' did not come"));
  EXPECT_FALSE(
      std::filesystem::exists(directory / "model.safetensors.index.json"));
}

}  // namespace
}  // namespace octet::bundle
