#include "server/model/stacked_tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/server/model/memory_tensors.h"

namespace octet::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

MemoryTensors TwoLayers() {
  MemoryTensors tensors;
  tensors.Set("a.weight", DataType::kI8, {1, 2}, std::vector<int8_t>{1, 2});
  tensors.Set("b.weight", DataType::kI8, {2, 2},
              std::vector<int8_t>{3, 4, 5, 6});
  tensors.Set("a.outlier_weight", DataType::kF16, {2, 1},
              std::vector<uint16_t>{10, 20});
  tensors.Set("b.outlier_weight", DataType::kF16, {2, 2},
              std::vector<uint16_t>{11, 12, 21, 22});
  for (const char* layer : {"a", "b"}) {
    tensors.Set(std::string(layer) + ".outlier_columns", DataType::kI32, {2},
                std::vector<int32_t>{0, 1});
  }
  return tensors;
}

template <typename T>
std::vector<T> Values(const StackedTensors& stacked, const char* name) {
  const auto view = stacked.Find(name);
  EXPECT_TRUE(view.ok()) << view.status();
  std::vector<T> values(view->bytes.size() / sizeof(T));
  std::memcpy(values.data(), view->bytes.data(), view->bytes.size());
  return values;
}

TEST(StackedTensors, OutputsLieSideBySideAndTheInputsOwnIsThereOnce) {
  const auto stacked = StackedTensors::Create(TwoLayers(), "a+b", {"a", "b"});
  ASSERT_TRUE(stacked.ok()) << stacked.status();
  EXPECT_THAT(
      stacked->Names(),
      ElementsAre("a+b.outlier_columns", "a+b.outlier_weight", "a+b.weight"));
  EXPECT_THAT(stacked->Find("a+b.weight")->shape, ElementsAre(3, 2));
  EXPECT_THAT(Values<int8_t>(*stacked, "a+b.weight"),
              ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(stacked->Find("a+b.outlier_weight")->shape, ElementsAre(2, 3));
  EXPECT_THAT(Values<uint16_t>(*stacked, "a+b.outlier_weight"),
              ElementsAre(10, 11, 12, 20, 21, 22));
  EXPECT_THAT(Values<int32_t>(*stacked, "a+b.outlier_columns"),
              ElementsAre(0, 1));
  EXPECT_EQ(stacked->Find("a.weight").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(StackedTensors, PartsThatTreatTheInputDifferentlyAreRefused) {
  MemoryTensors tensors = TwoLayers();
  tensors.Set("b.outlier_columns", DataType::kI32, {2},
              std::vector<int32_t>{0, 2});
  EXPECT_THAT(std::string(StackedTensors::Create(tensors, "a+b", {"a", "b"})
                              .status()
                              .message()),
              HasSubstr("outlier_columns"));
  tensors = TwoLayers();
  tensors.SetFloat("b.inverse_smoothing", {2}, {1, 1});
  EXPECT_EQ(StackedTensors::Create(tensors, "a+b", {"a", "b"}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(StackedTensors, SizesThatDisagreeAreRefused) {
  MemoryTensors tensors = TwoLayers();
  tensors.Set("b.weight", DataType::kI8, {2, 3}, std::vector<int8_t>(6));
  EXPECT_FALSE(StackedTensors::Create(tensors, "a+b", {"a", "b"}).ok());
  tensors.Set("b.weight", DataType::kI8, {2, 2}, std::vector<int8_t>(3));
  EXPECT_FALSE(StackedTensors::Create(tensors, "a+b", {"a", "b"}).ok());
}

}  // namespace
}  // namespace octet::model
