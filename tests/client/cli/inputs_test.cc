#include "client/cli/inputs.h"

#include "client/cli/npy.h"
#include "gtest/gtest.h"
#include "tests/client/lib/temporary_directory.h"

namespace octet::cli {
namespace {

TEST(InputReader, CutsRowsOfAnNpyFileIntoBatches) {
  const client::TemporaryDirectory directory;
  const std::string path = (directory.path() / "x.npy").string();
  ASSERT_TRUE(WriteNpy(path, {5, 2, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}).ok());
  const auto reader = InputReader::Open(path);
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
  const auto reader = InputReader::Open(path.string());
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*(*reader)->Next(8))->tokens().ids(0), 7);
  EXPECT_FALSE((*reader)->Next(8)->has_value());
  EXPECT_TRUE(absl::IsNotFound(InputReader::Open("/nowhere").status()));
}

}  // namespace
}  // namespace octet::cli
