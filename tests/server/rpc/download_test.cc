// What a client gets of files, and that nothing of them is copied.

#include "server/rpc/download.h"

#include <algorithm>
#include <random>

#include "tests/server/bundle/support.h"

namespace octet::rpc {
namespace {

using bundle::IsOk;
using bundle::MappedFile;
using bundle::TempDir;

constexpr size_t kMiB = size_t{1} << 20;

std::string Noise(size_t size) {
  std::mt19937 random(size);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

class DownloadTest : public ::testing::Test {
 protected:
  std::shared_ptr<const MappedFile> Mapped(const std::string& bytes) {
    bundle::WriteFile(directory_ / "file", bytes);
    auto file = MappedFile::Open(directory_ / "file");
    EXPECT_THAT(file, IsOk());
    return std::make_shared<const MappedFile>(*std::move(file));
  }

  static std::string_view View(const MappedFile& file) {
    return {reinterpret_cast<const char*>(file.bytes().data()),
            file.bytes().size()};
  }

  bool Take(const grpc::ByteBuffer& message) {
    std::vector<grpc::Slice> slices;
    EXPECT_TRUE(message.Dump(&slices).ok());
    std::string bytes;
    for (const grpc::Slice& slice : slices) {
      bytes.append(slice.begin(), slice.end());
    }
    v1::DownloadCalibrationResponse response;
    EXPECT_TRUE(response.ParseFromString(bytes));
    EXPECT_EQ(response.offset(), received_.size());
    EXPECT_EQ(response.total_bytes(), 7);
    EXPECT_EQ(response.crc32c(), bundle::Crc32c(response.data()));
    received_ += response.data();
    sizes_.push_back(response.data().size());
    messages_.push_back(message);
    return messages_.size() < leaves_after_;
  }

  Download<v1::DownloadCalibrationResponse> Start() {
    v1::DownloadCalibrationResponse fields;
    fields.set_total_bytes(7);
    return Download<v1::DownloadCalibrationResponse>(
        [this](const grpc::ByteBuffer& message) { return Take(message); },
        fields);
  }

  const TempDir directory_;
  std::string received_;
  std::vector<size_t> sizes_;
  std::vector<grpc::ByteBuffer> messages_;
  size_t leaves_after_ = 1000;
};

TEST_F(DownloadTest, SmallPiecesShareAMessageAndLargeOnesAreCut) {
  const auto file = Mapped(Noise(2 * kMiB + 5));
  auto download = Start();
  ASSERT_THAT(download.Add("head", nullptr), IsOk());
  ASSERT_THAT(download.Add(View(*file).substr(0, 100), file), IsOk());
  ASSERT_THAT(download.Add(View(*file), file), IsOk());
  ASSERT_THAT(download.Add("tail", nullptr), IsOk());
  ASSERT_THAT(download.Flush(), IsOk());
  EXPECT_EQ(received_, "head" + std::string(View(*file).substr(0, 100)) +
                           std::string(View(*file)) + "tail");
  EXPECT_EQ(sizes_, (std::vector<size_t>{104, kMiB, kMiB, 9}));
}

TEST_F(DownloadTest, AFileIsSentFromWhereItIsMapped) {
  const auto file = Mapped(Noise(kMiB + 70'000));
  auto download = Start();
  ASSERT_THAT(download.Add(View(*file), file), IsOk());
  ASSERT_EQ(messages_.size(), 2);
  for (size_t i = 0; i < 2; ++i) {
    std::vector<grpc::Slice> slices;
    ASSERT_TRUE(messages_[i].Dump(&slices).ok());
    const void* const mapped = View(*file).data() + i * kMiB;
    EXPECT_TRUE(std::any_of(
        slices.begin(), slices.end(),
        [&](const grpc::Slice& slice) { return slice.begin() == mapped; }));
  }
}

TEST_F(DownloadTest, WhatIsOnItsWayKeepsTheFile) {
  auto file = Mapped(Noise(100'000));
  auto download = Start();
  ASSERT_THAT(download.Add(View(*file), file), IsOk());
  const std::weak_ptr<const MappedFile> watched = file;
  file.reset();
  EXPECT_FALSE(watched.expired());
  messages_.clear();
  EXPECT_TRUE(watched.expired());
}

TEST_F(DownloadTest, EndsWhenTheClientIsGone) {
  leaves_after_ = 2;
  const auto file = Mapped(Noise(5 * kMiB));
  auto download = Start();
  EXPECT_TRUE(absl::IsCancelled(download.Add(View(*file), file)));
  EXPECT_EQ(messages_.size(), 2);
}

}  // namespace
}  // namespace octet::rpc
