#include "client/cli/inputs.h"

#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/npy.h"
#include "gtest/gtest.h"
#include "tests/client/lib/temporary_directory.h"

namespace octet::cli {
namespace {

bool Never() { return false; }

TEST(InputReader, CutsRowsOfAnNpyFileIntoBatches) {
  const client::TemporaryDirectory directory;
  const std::string path = (directory.path() / "x.npy").string();
  ASSERT_TRUE(WriteNpy(path, {5, 2, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}).ok());
  const auto reader = InputReader::Open(path, Never);
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::vector<float> values;
  for (const int64_t rows : {2, 2, 1}) {
    const auto batch = (*reader)->Next(2);
    ASSERT_TRUE(batch.ok() && batch->has_value());
    const auto matrix = client::ToMatrix((*batch)->features());
    ASSERT_TRUE(matrix.ok()) << matrix.status();
    EXPECT_EQ(matrix->rows, rows);
    values.insert(values.end(), matrix->values.begin(), matrix->values.end());
  }
  EXPECT_FALSE((*reader)->Next(2)->has_value());
  EXPECT_EQ(values, (std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(InputReader, ReadsEverythingElseAsTokenLines) {
  const client::TemporaryDirectory directory;
  const auto path = directory.Write("ids.jsonl", "{\"ids\": [7]}\n");
  const auto reader = InputReader::Open(path.string(), Never);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*(*reader)->Next(8))->tokens().ids(0), 7);
  EXPECT_FALSE((*reader)->Next(8)->has_value());
  EXPECT_TRUE(absl::IsNotFound(InputReader::Open("/nowhere", Never).status()));
  EXPECT_EQ(InputReader::Open(directory.path(), Never).status().message(),
            directory.path().string() + " is a directory");
}

// Half a line is no mistake of its writer's, and no end of the samples either.
TEST(InputReader, WaitsForAPipeUntilInterrupted) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string written = "{\"ids\": [7]}\n{\"ids";
  ASSERT_EQ(write(ends[1], written.data(), written.size()),
            static_cast<ssize_t>(written.size()));
  int asked = 0;
  const auto reader = InputReader::Open(absl::StrCat("/dev/fd/", ends[0]),
                                        [&] { return ++asked > 3; });
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*(*reader)->Next(1))->tokens().ids(0), 7);
  EXPECT_TRUE(absl::IsCancelled((*reader)->Next(1).status()));
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace octet::cli
