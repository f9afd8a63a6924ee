#include "server/quantization/storage/storage.h"

#include <limits>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/model/importer.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using model::DataType;
using model::Scheme;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Storage planned for a checkpoint of the given tensors.
struct Planned {
  absl::Status status;
  std::map<std::string, DataType> types;
  QuantizationPlan plan;
};

Planned PlanFor(const std::vector<SmallTensor>& tensors,
                const PlanRequest& request) {
  const TemporaryDirectory directory;
  WriteCheckpoint(directory.path(), tensors, "");
  const auto files = bundle::OpenModelFiles(directory.path());
  EXPECT_THAT(files, IsOk());
  const auto graph = model::Import(files->configs, *files->tensors);
  EXPECT_THAT(graph, IsOk());
  Planned planned;
  planned.plan = *PlanFromStatistics(*graph, request, {});
  const auto stored = PlanStorage(*graph, *files->tensors, request.float_scheme,
                                  {}, nullptr, planned.plan);
  planned.status = stored.status();
  if (!stored.ok()) return planned;
  for (const StoredTensor& tensor : *stored) {
    for (const bundle::TensorInfo& part : tensor.parts) {
      planned.types[part.name] = part.type;
    }
  }
  return planned;
}

SmallTensor Weight(const std::string& layer, std::vector<float> values,
                   DataType type = DataType::kF32) {
  const auto columns = static_cast<int64_t>(values.size());
  return {layer + ".weight", {1, columns}, std::move(values), type};
}

TEST(PlanStorage, OtherFloatTensorsBecome16Bits) {
  const Planned planned = PlanFor({Weight("fc", {1, 2, 3, 4}),
                                   {"fc.bias", {1}, {0.5F}},
                                   {"ids", {2}, {0, 1}, DataType::kI64}},
                                  {});
  ASSERT_THAT(planned.status, IsOk());
  EXPECT_EQ(planned.types, (std::map<std::string, DataType>{
                               {"fc.weight", DataType::kI8},
                               {"fc.weight_scale", DataType::kF32},
                               {"fc.bias", DataType::kF16},
                               {"ids", DataType::kI64}}));
  EXPECT_THAT(planned.plan.warnings, IsEmpty());
}

TEST(PlanStorage, Fp32KeepsFp32) {
  PlanRequest request;
  request.float_scheme = Scheme::kFp32;
  const Planned planned =
      PlanFor({Weight("fc", {1, 2, 3, 4}), {"fc.bias", {1}, {0.5F}}}, request);
  ASSERT_THAT(planned.status, IsOk());
  EXPECT_EQ(planned.types.at("fc.bias"), DataType::kF32);
}

TEST(PlanStorage, ValuesBeyondFp16FallBackWithAWarning) {
  PlanRequest request;
  request.scheme = Scheme::kFp16;
  const Planned planned = PlanFor(
      {Weight("huge", {1, 2, 3, 1e38F}), Weight("large", {1, 2, 3, -70000}),
       Weight("small", {1, 2, 3, 65504})},
      request);
  ASSERT_THAT(planned.status, IsOk());
  EXPECT_EQ(planned.types.at("small.weight"), DataType::kF16);
  EXPECT_EQ(planned.types.at("large.weight"), DataType::kBF16);
  EXPECT_EQ(planned.types.at("huge.weight"), DataType::kBF16);
  EXPECT_EQ(planned.plan.layers.at("large").scheme.scheme, Scheme::kBf16);
  EXPECT_THAT(planned.plan.warnings,
              ElementsAre(HasSubstr("no layer"), HasSubstr("'huge.weight'"),
                          HasSubstr("'large.weight'")));
}

TEST(PlanStorage, ValuesThatRoundOutOfBf16StayFp32) {
  const float largest = std::numeric_limits<float>::max();
  PlanRequest request;
  request.scheme = Scheme::kBf16;
  const Planned planned = PlanFor({Weight("fc", {1, 2, 3, largest})}, request);
  ASSERT_THAT(planned.status, IsOk());
  EXPECT_EQ(planned.types.at("fc.weight"), DataType::kF32);
  EXPECT_EQ(planned.plan.layers.at("fc").scheme.scheme, Scheme::kFp32);
}

TEST(PlanStorage, SixteenBitTensorsStayAsTheyAre) {
  PlanRequest request;
  request.exclude = {"kept"};
  const Planned planned =
      PlanFor({Weight("fc", {1, 2, 3, 4}, DataType::kBF16),
               {"fc.bias", {1}, {0.5F}, DataType::kBF16},
               Weight("kept", {1, 2, 3, 4}, DataType::kBF16)},
              request);
  ASSERT_THAT(planned.status, IsOk());
  EXPECT_EQ(planned.types.at("fc.weight"), DataType::kI8);
  EXPECT_EQ(planned.types.at("fc.bias"), DataType::kBF16);
  EXPECT_EQ(planned.types.at("kept.weight"), DataType::kBF16);
  EXPECT_EQ(planned.plan.layers.at("kept").scheme.scheme, Scheme::kBf16);
}

TEST(PlanStorage, NonFiniteValuesOutsideLinearsAreNamed) {
  const float infinity = std::numeric_limits<float>::infinity();
  const Planned planned = PlanFor(
      {Weight("fc", {1, 2, 3, 4}), {"norm", {3}, {1.0F, infinity, 0.0F}}}, {});
  EXPECT_THAT(planned.status, FailsWith(absl::StatusCode::kInvalidArgument,
                                        "tensor 'norm' holds an infinity at "
                                        "index [1]"));
}

}  // namespace
}  // namespace octet::quantization
