#include "server/model/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/server/model/memory_tensors.h"

namespace octet::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(DataType, NamesAndValuesGoBothWays) {
  for (const char* name :
       {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}) {
    const auto type = ParseDataType(name);
    ASSERT_TRUE(type.ok()) << name;
    EXPECT_EQ(Name(*type), name);
  }
  EXPECT_FALSE(ParseDataType("F8_E4M3").ok());
  EXPECT_EQ(SizeOf(DataType::kBF16), 2);
  EXPECT_EQ(SizeOf(DataType::kI64), 8);
}

TEST(TensorView, ElementsOfAnAbsurdShapeAreNegative) {
  TensorView view;
  EXPECT_EQ(view.elements(), 1);  // a scalar
  view.shape = {3, 0};
  EXPECT_EQ(view.elements(), 0);
  view.shape = {3, -1};
  EXPECT_EQ(view.elements(), -1);
  view.shape = {std::numeric_limits<int64_t>::max(), 2};
  EXPECT_EQ(view.elements(), -1);
}

TEST(ToFloat, WidensSixteenBitTypes) {
  MemoryTensors tensors;
  tensors.Set("h", DataType::kF16, {2}, std::vector<uint16_t>{0x3C00, 0xC000});
  tensors.Set("b", DataType::kBF16, {2}, std::vector<uint16_t>{0x3F80, 0xC000});
  EXPECT_THAT(*ToFloat(*tensors.Find("h")), ElementsAre(1.0F, -2.0F));
  EXPECT_THAT(*ToFloat(*tensors.Find("b")), ElementsAre(1.0F, -2.0F));
}

TEST(ToFloat, OtherTypesAndWrongSizesAreErrors) {
  MemoryTensors tensors;
  tensors.Set("i", DataType::kI32, {1}, std::vector<int32_t>{1});
  tensors.SetFloat("short", {3}, {1.0F});
  EXPECT_FALSE(ToFloat(*tensors.Find("i")).ok());
  EXPECT_FALSE(ToFloat(*tensors.Find("short")).ok());
}

TEST(FindFloat, SaysBothShapes) {
  MemoryTensors tensors;
  tensors.SetRandom("a.weight", {3, 4});
  EXPECT_EQ(FindFloat(tensors, "b", {1}).status().code(),
            absl::StatusCode::kNotFound);
  const auto wrong = FindFloat(tensors, "a.weight", {4, 4});
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(wrong.status().message(),
            "tensor 'a.weight' has shape [3, 4]; the config says [4, 4]");
  EXPECT_TRUE(FindFloat(tensors, "a.weight", {3, 4}).ok());
}

}  // namespace
}  // namespace octet::model
