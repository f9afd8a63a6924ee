#include "client/lib/inference.h"

#include <limits>

#include "gtest/gtest.h"

namespace octet::client {
namespace {

v1::Tensor Tensor(int64_t rows, int64_t columns, size_t bytes) {
  v1::Tensor tensor;
  tensor.set_type(v1::DATA_TYPE_F32);
  tensor.add_shape(rows);
  tensor.add_shape(columns);
  tensor.set_data(std::string(bytes, '\0'));
  return tensor;
}

TEST(Tensors, MatrixSurvivesTheWayToTheWireAndBack) {
  const Matrix matrix{2, 3, {1, -2, 3.5f, 0, 1e-30f, 6}};
  const v1::Tensor tensor = ToTensor(matrix);
  EXPECT_EQ(tensor.data().size(), 24u);
  const auto back = ToMatrix(tensor);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->rows, 2);
  EXPECT_EQ(back->columns, 3);
  EXPECT_EQ(back->values, matrix.values);
}

TEST(Tensors, AShapeThatDoesNotFitItsBytesIsRefused) {
  EXPECT_TRUE(ToMatrix(Tensor(0, 3, 0)).ok());
  EXPECT_TRUE(ToMatrix(Tensor(2, 2, 16)).ok());
  const int64_t huge = std::numeric_limits<int64_t>::max();
  for (const auto& tensor :
       {Tensor(2, 2, 12), Tensor(2, 2, 15), Tensor(0, 3, 4), Tensor(-1, 3, 0),
        Tensor(huge, 4, 16), Tensor(huge, huge, 4)}) {
    EXPECT_TRUE(absl::IsDataLoss(ToMatrix(tensor).status()))
        << tensor.ShortDebugString();
  }
  v1::Tensor half = Tensor(2, 2, 8);
  half.set_type(v1::DATA_TYPE_F16);
  EXPECT_FALSE(ToMatrix(half).ok());
}

}  // namespace
}  // namespace octet::client
