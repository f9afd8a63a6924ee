#include "client/cli/npy.h"

#include <cstring>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/lib/temporary_directory.h"

namespace octet::cli {
namespace {

using testing::HasSubstr;

std::string File(const std::string& header, size_t bytes, char major = 1) {
  std::string text("\x93NUMPY", 6);
  text += major;
  text += '\0';
  text += static_cast<char>(header.size());
  text += '\0';
  if (major > 1) text += std::string(2, '\0');
  return text + header + std::string(bytes, '\0');
}

constexpr char kGood[] =
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";

std::string Error(const std::string& bytes) {
  const auto matrix = ParseNpy(bytes);
  EXPECT_TRUE(absl::IsInvalidArgument(matrix.status()));
  return std::string(matrix.status().message());
}

TEST(Npy, ReadsWhatItWrites) {
  const client::Matrix matrix{2, 3, {1, -2, 3.5f, 0, 1e-30f, 6}};
  const std::string bytes = SerializeNpy(matrix);
  EXPECT_EQ((bytes.size() - 24) % 64, 0u) << "elements start aligned";
  const auto back = ParseNpy(bytes);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->rows, 2);
  EXPECT_EQ(back->columns, 3);
  EXPECT_EQ(back->values, matrix.values);
}

TEST(Npy, ReadsAllVersionsAndEmptyMatrices) {
  for (const char major : {1, 2, 3}) {
    EXPECT_TRUE(ParseNpy(File(kGood, 24, major)).ok()) << int{major};
  }
  const auto empty = ParseNpy(SerializeNpy({0, 384, {}}));
  ASSERT_TRUE(empty.ok()) << empty.status();
  EXPECT_EQ(empty->columns, 384);
}

TEST(Npy, SaysHowToSaveWhatItDoesNotRead) {
  EXPECT_THAT(
      Error(File("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3)}",
                 48)),
      HasSubstr("astype('<f4')"));
  EXPECT_THAT(
      Error(
          File("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}", 24)),
      HasSubstr("ascontiguousarray"));
  EXPECT_THAT(
      Error(
          File("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", 24)),
      HasSubstr("matrix"));
}

TEST(Npy, EveryTruncationIsRefused) {
  const std::string whole = SerializeNpy({2, 3, {1, 2, 3, 4, 5, 6}});
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(ParseNpy(whole.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(ParseNpy(whole + "x").ok());
}

TEST(Npy, HostileHeadersAreRefused) {
  for (const char* header :
       {"", "{", "{'descr': '<f4'", "{'shape': (2, 3), 'descr': '<f4'}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (x, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': "
        "(4611686018427387904, 4)}"}) {
    EXPECT_FALSE(ParseNpy(File(header, 24)).ok()) << header;
  }
  EXPECT_FALSE(ParseNpy(File(kGood, 24, 9)).ok());
}

TEST(Npy, AnEmptyFileIsNoMatrixAndNotAMissingFile) {
  const client::TemporaryDirectory directory;
  const auto empty = ReadNpy(directory.Write("x.npy", "").string());
  EXPECT_TRUE(absl::IsInvalidArgument(empty.status())) << empty.status();
}

TEST(Npy, NamesTheFileThatIsMissing) {
  EXPECT_THAT(std::string(ReadNpy("/nowhere/x.npy").status().message()),
              HasSubstr("/nowhere/x.npy"));
}

}  // namespace
}  // namespace octet::cli
