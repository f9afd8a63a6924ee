#include "server/rpc/tensors.h"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::rpc {
namespace {

using quantization::FailsWith;
using quantization::IsOk;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

v1::Tensor MakeTensor(v1::DataType type, const std::vector<int64_t>& shape,
                      size_t bytes) {
  v1::Tensor tensor;
  tensor.set_type(type);
  tensor.mutable_shape()->Assign(shape.begin(), shape.end());
  tensor.set_data(std::string(bytes, '\0'));
  return tensor;
}

TEST(Tensors, EveryFloatTypeComesBackAsItWas) {
  const model::ModelOutput values = {
      .values = {0.5F, -2.0F, 1024.0F, 0.0F, 3.0F, -0.25F},
      .rows = 2,
      .cols = 3};
  for (const v1::DataType type :
       {v1::DATA_TYPE_F32, v1::DATA_TYPE_F16, v1::DATA_TYPE_BF16}) {
    v1::Tensor tensor;
    const grpc::Slice data = Encode(values, type, &tensor);
    // Where the fields are, and in pieces beside them.
    const WireChunk whole(data.begin(), data.size());
    const std::vector<WireChunk> pieces = {whole.subspan(0, 5),
                                           whole.subspan(5)};
    const auto wire = WireMatrix::Check(
        "x", tensor, WireBytes(WireCursor(pieces), data.size()));
    ASSERT_THAT(wire, IsOk());
    std::vector<float> row(3);
    wire->CopyRows(1, 1, row.data());
    EXPECT_THAT(row, ElementsAre(0.0F, 3.0F, -0.25F));
    std::vector<float> all(6);
    wire->CopyRows(0, 2, all.data());
    EXPECT_THAT(all, ElementsAreArray(values.values));
    tensor.set_data(data.begin(), data.size());
    const auto matrix = FloatMatrix::Decode("x", tensor);
    ASSERT_THAT(matrix, IsOk());
    const auto view = matrix->view();
    ASSERT_EQ(view.rows, 2);
    ASSERT_EQ(view.cols, 3);
    EXPECT_THAT(absl::MakeConstSpan(view.data, 6),
                ElementsAreArray(values.values));
  }
}

TEST(Tensors, RefusesWhatIsNoMatrixOfFloats) {
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  const struct {
    v1::Tensor tensor;
    const char* field;
  } cases[] = {
      {MakeTensor(v1::DATA_TYPE_UNSPECIFIED, {1, 1}, 4), "x.type:"},
      {MakeTensor(v1::DATA_TYPE_I64, {1, 1}, 8), "x.type:"},
      {MakeTensor(static_cast<v1::DataType>(99), {1, 1}, 4), "x.type:"},
      {MakeTensor(v1::DATA_TYPE_F32, {}, 4), "x.shape:"},
      {MakeTensor(v1::DATA_TYPE_F32, {4}, 16), "x.shape:"},
      {MakeTensor(v1::DATA_TYPE_F32, {1, 1, 1}, 4), "x.shape:"},
      {MakeTensor(v1::DATA_TYPE_F32, {-1, -1}, 4), "x.shape:"},
      {MakeTensor(v1::DATA_TYPE_F32, {kHuge, kHuge}, 4), "x.shape:"},
      {MakeTensor(v1::DATA_TYPE_F32, {int64_t{1} << 62, 1}, 0), "x.shape:"},
      {MakeTensor(v1::DATA_TYPE_F32, {2, 2}, 15), "x.data:"},
      {MakeTensor(v1::DATA_TYPE_F32, {2, 2}, 17), "x.data:"},
      {MakeTensor(v1::DATA_TYPE_F16, {2, 2}, 16), "x.data:"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(FloatMatrix::Decode("x", c.tensor),
                FailsWith(absl::StatusCode::kInvalidArgument, c.field));
  }
}

TEST(Tensors, InputsMustBeOfTheKindTheModelTakes) {
  model::Graph graph;
  graph.input = model::InputKind::kTokens;
  v1::ModelInputs inputs;
  EXPECT_THAT(DecodeInputs(inputs, graph),
              FailsWith(absl::StatusCode::kInvalidArgument, "tokens:"));
  *inputs.mutable_features() = MakeTensor(v1::DATA_TYPE_F32, {1, 2}, 8);
  EXPECT_THAT(DecodeInputs(inputs, graph),
              FailsWith(absl::StatusCode::kInvalidArgument, "tokens:"));

  graph.input = model::InputKind::kFeatures;
  graph.input_width = 3;
  EXPECT_THAT(DecodeInputs(inputs, graph),
              FailsWith(absl::StatusCode::kInvalidArgument, "features.shape:"));
  graph.input = model::InputKind::kNone;
  EXPECT_THAT(DecodeInputs(inputs, graph),
              FailsWith(absl::StatusCode::kFailedPrecondition, "linear_set"));
}

}  // namespace
}  // namespace octet::rpc
