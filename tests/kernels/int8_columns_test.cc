// A range of a layer's columns is what the whole product has there, on every
// kernel, with everything that a layer can do.

#include <cstddef>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/int8_linear.h"
#include "kernels/registry.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/layer_testing.h"

namespace octet::kernels {
namespace {

class Columns : public EveryKernel {};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(Columns);

// Columns [first, first + count) of the whole product.
std::vector<float> Cut(const std::vector<float>& whole, size_t n, size_t first,
                       size_t count) {
  std::vector<float> part;
  for (size_t at = first; at < whole.size(); at += n) {
    part.insert(part.end(), whole.begin() + at, whole.begin() + at + count);
  }
  return part;
}

void ExpectRangesAreOfTheWhole(const Kernel& kernel, const Layer& layer) {
  const auto linear = Int8Linear::CreateWith(kernel, layer.Spec());
  ASSERT_TRUE(linear.ok()) << linear.status();
  ThreadPool pool(3);
  LinearCall call;
  call.residual = {layer.residual.data(), layer.m, layer.n};
  call.activation = layer.activation;
  const MatrixView<const float> x = {layer.x.data(), layer.m, layer.k};
  std::vector<float> whole(layer.m * layer.n);
  ASSERT_TRUE(linear->Run(x, {whole.data(), layer.m, layer.n}, call).ok());
  const auto residual = call.residual;
  const size_t step = kernel.nr;
  const std::vector<std::pair<size_t, size_t>> ranges = {
      {0, step},
      {step, 2 * step},
      {3 * step, layer.n - 3 * step},
      {0, layer.n}};
  for (const auto& [first, count] : ranges) {
    SCOPED_TRACE(first);
    call.residual = residual.Columns(first, count);
    call.pool = first == step ? &pool : nullptr;
    std::vector<float> part(layer.m * count);
    const absl::Status status =
        linear->RunColumns(first, x, {part.data(), layer.m, count}, call);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(Bits(part), Bits(Cut(whole, layer.n, first, count)));
  }
}

TEST_P(Columns, ARangeHasTheBitsOfTheWhole) {
  for (const size_t m : {1, 7, 40}) {
    Layer layer(m, 250, 96, /*seed=*/71);
    ExpectRangesAreOfTheWhole(kernel(), layer);
    layer.SetOutliers({5, 63, 64}, 2.0F);
    layer.activation = Activation::kGelu;
    ExpectRangesAreOfTheWhole(kernel(), layer);
    Layer groups(m, 250, 96, /*seed=*/72);
    groups.SetGroups(32);
    ExpectRangesAreOfTheWhole(kernel(), groups);
  }
}

TEST_P(Columns, RangesThatBeginOrEndInsideAPanelAreRefused) {
  const Layer layer(1, 250, 8, /*seed=*/73);
  const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
  std::vector<float> y(250);
  const size_t step = kernel().nr;
  const size_t last = 250 / step * step;  // of a panel that is not full
  for (const auto& [first, count] :
       std::vector<std::pair<size_t, size_t>>{{1, step},
                                              {0, step - 1},
                                              {last, step},
                                              {last + step, step},
                                              {step, 0}}) {
    const absl::Status status = linear->RunColumns(
        first, {layer.x.data(), 1, 8}, {y.data(), 1, count}, {});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << first;
  }
}

}  // namespace
}  // namespace octet::kernels
