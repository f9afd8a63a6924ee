#include "kernels/float_pooling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/kernels_float/test_data.h"

namespace octet::kernels {
namespace {

using testing::ElementsAre;
using testing::FloatEq;
using testing::IsNan;

TestMatrix ThreeTokens() {
  TestMatrix x(3, 2);
  x.data = {1.0F, -4.0F, 3.0F, -2.0F, 10.0F, 5.0F};
  return x;
}

std::vector<float> Pooled(PoolingKind kind) {
  TestMatrix y(2, 2);
  Pool(kind, ThreeTokens().view(), {2, 1}, y.view());
  return y.data;
}

TEST(Pool, MeanIsTakenWithinEachSequence) {
  EXPECT_THAT(Pooled(PoolingKind::kMean), ElementsAre(2, -3, 10, 5));
}

TEST(Pool, FirstIsTheFirstToken) {
  EXPECT_THAT(Pooled(PoolingKind::kFirst), ElementsAre(1, -4, 10, 5));
}

TEST(Pool, MaxIsTakenColumnByColumn) {
  EXPECT_THAT(Pooled(PoolingKind::kMax), ElementsAre(3, -2, 10, 5));
}

TEST(Pool, ANaNWinsWhereverItStands) {
  for (const PoolingKind kind : {PoolingKind::kMean, PoolingKind::kMax}) {
    for (size_t at = 0; at < 4; ++at) {
      TestMatrix x(4, 1);
      x.data = {1.0F, 2.0F, 3.0F, 4.0F};
      x.data[at] = std::numeric_limits<float>::quiet_NaN();
      TestMatrix y(1, 1);
      Pool(kind, x.view(), {4}, y.view());
      EXPECT_THAT(y.data, ElementsAre(IsNan())) << at;
    }
  }
}

TEST(NormalizeL2, RowsGetUnitLength) {
  TestMatrix x(1, 2);
  x.data = {3.0F, -4.0F};
  NormalizeL2(x.view(), x.view());
  EXPECT_THAT(x.data, ElementsAre(FloatEq(0.6F), FloatEq(-0.8F)));
}

TEST(NormalizeL2, ARowOfZerosStaysZeroAndLargeValuesDoNotOverflow) {
  TestMatrix x(2, 2);
  x.data = {0.0F, 0.0F, 3e30F, 4e30F};
  NormalizeL2(x.view(), x.view());
  EXPECT_THAT(x.data, ElementsAre(0, 0, FloatEq(0.6F), FloatEq(0.8F)));
}

}  // namespace
}  // namespace octet::kernels
