// A run like one before it allocates nothing but the values it returns.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "server/model/model.h"
#include "tests/kernels/allocation_counter.h"
#include "tests/server/model/small_encoder.h"

namespace octet::model {
namespace {

constexpr int kRuns = 400;  // which thread meets which chunk first is chance

// Fewest allocations of a run.
size_t FewestAllocations(const Model& model, const ModelInput& input,
                         const RunOptions& options) {
  size_t fewest = SIZE_MAX;
  for (int i = 0; i < kRuns && fewest > 1; ++i) {
    const size_t before = kernels::Allocations();
    const auto output = model.Forward(input, options);
    const size_t after = kernels::Allocations();
    EXPECT_TRUE(output.ok()) << output.status();
    fewest = std::min(fewest, after - before);
  }
  return fewest;
}

TEST(NoAllocation, ForwardAllocatesItsOutputAlone) {
  for (const LinearScheme& scheme :
       {LinearScheme{Scheme::kW8A8Dynamic}, LinearScheme{Scheme::kW8A8Static},
        LinearScheme{Scheme::kLlmInt8, 2.5F}}) {
    SCOPED_TRACE(Name(scheme.scheme));
    const auto model = SmallEncoder(scheme);
    for (const size_t threads : {1, 2}) {
      kernels::ThreadPool pool(threads);
      LayerKindTimes times;
      RunOptions options;
      options.pool = &pool;
      options.times = &times;
      for (const size_t sequences : {90, 40, 1}) {
        SCOPED_TRACE(sequences);
        const ModelInput input = SmallEncoderInput(sequences, /*seed=*/3);
        EXPECT_EQ(FewestAllocations(*model, input, options), 1);
      }
    }
  }
}

TEST(NoAllocation, ARunThatAllocatesIsFound) {
  const auto model = SmallEncoder({Scheme::kW8A8Dynamic});
  RunOptions options;
  options.cancelled = [] { return std::string(100, ' ').empty(); };
  EXPECT_GT(FewestAllocations(*model, SmallEncoderInput(1, 3), options), 1);
}

}  // namespace
}  // namespace octet::model
