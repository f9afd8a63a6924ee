// What graph passes make of a model has the bits of the layers one by one.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>

#include "server/model/linear_layer.h"
#include "server/model/model.h"
#include "tests/server/model/small_encoder.h"

namespace octet::model {
namespace {

std::vector<uint32_t> BitsOf(absl::Span<const float> values) {
  std::vector<uint32_t> bits;
  for (const float value : values) {
    bits.push_back(std::bit_cast<uint32_t>(value));
  }
  return bits;
}

// Outlier threshold, group size, block of the rotation, smoothed.
const LinearScheme kSchemes[] = {{Scheme::kW8A8Dynamic},
                                 {Scheme::kW8A8Static},
                                 {Scheme::kLlmInt8, 2.5F},
                                 {Scheme::kW8A8Dynamic, 0.0F, 0, 32, true},
                                 {Scheme::kW8A8Dynamic, 0.0F, 0, 64, false},
                                 {Scheme::kW8A8Static, 0.0F, 0, 0, true},
                                 {Scheme::kW8A8Static, 0.0F, 0, 32, true}};

// Each linear of the model by itself, from the bundle's tensors.
class LayersAlone {
 public:
  explicit LayersAlone(const LinearScheme& scheme) {
    const Graph graph = SmallEncoderGraph();
    const MemoryTensors tensors = SmallEncoderTensors();
    for (const Linear* linear : graph.Linears()) {
      auto layer = MakeLinearLayer(*linear, scheme, tensors);
      EXPECT_TRUE(layer.ok()) << layer.status();
      by_name_[linear->layer] = layer->get();
      layers_.push_back(*std::move(layer));
    }
  }

  const LinearSubstitutes& by_name() const { return by_name_; }

 private:
  std::vector<std::unique_ptr<LinearLayer>> layers_;
  LinearSubstitutes by_name_;
};

TEST(FusedModel, ForwardHasTheBitsOfTheLayersOneByOne) {
  for (const LinearScheme& scheme : kSchemes) {
    SCOPED_TRACE(Name(scheme.scheme));
    const auto model = SmallEncoder(scheme);
    const LayersAlone alone(scheme);
    for (const size_t sequences : {1, 3, 90}) {
      const ModelInput input = SmallEncoderInput(sequences, /*seed=*/5);
      RunOptions options;
      options.output = OutputKind::kHidden;
      options.substitutes = &alone.by_name();
      const auto one_by_one = model->Forward(input, options);
      ASSERT_TRUE(one_by_one.ok()) << one_by_one.status();
      options.substitutes = nullptr;
      for (const size_t threads : {1, 3}) {
        kernels::ThreadPool pool(threads);
        options.pool = &pool;
        const auto fused = model->Forward(input, options);
        ASSERT_TRUE(fused.ok()) << fused.status();
        EXPECT_EQ(BitsOf(fused->values), BitsOf(one_by_one->values));
      }
    }
  }
}

TEST(FusedModel, ALayerIsStillFoundByItsName) {
  for (const LinearScheme& scheme : kSchemes) {
    SCOPED_TRACE(Name(scheme.scheme));
    const auto model = SmallEncoder(scheme);
    const LayersAlone alone(scheme);
    size_t bytes = 0;
    for (const auto& [name, layer] : alone.by_name()) {
      SCOPED_TRACE(name);
      const auto found = model->FindLinear(name);
      ASSERT_TRUE(found.ok()) << found.status();
      EXPECT_EQ((*found)->kernel_name(), layer->kernel_name());
      EXPECT_NEAR((*found)->weight_bytes(), layer->weight_bytes(), 1024);
      bytes += (*found)->weight_bytes();
      const size_t k = layer->int8()->in_features();
      const size_t n = layer->int8()->out_features();
      std::vector<float> x(3 * k);
      for (size_t i = 0; i < x.size(); ++i) x[i] = 0.01F * (i % 331) - 1.0F;
      std::vector<float> expected(3 * n);
      std::vector<float> y(3 * n);
      ASSERT_TRUE(
          layer->Run({x.data(), 3, k}, {expected.data(), 3, n}, {}).ok());
      ASSERT_TRUE((*found)->Run({x.data(), 3, k}, {y.data(), 3, n}, {}).ok());
      EXPECT_EQ(BitsOf(y), BitsOf(expected));
      y.resize(3 * n - 3);
      EXPECT_EQ(
          (*found)->Run({x.data(), 3, k}, {y.data(), 3, n - 1}, {}).code(),
          absl::StatusCode::kInvalidArgument);
    }
    EXPECT_GE(model->resident_bytes(), bytes);
    EXPECT_LE(model->resident_bytes(), bytes + 16384);
  }
}

TEST(FusedModel, TimesAndObserversKnowTheLayersByTheirNames) {
  struct Recorder : LinearObserver {
    absl::Status OnLinear(const Linear& linear,
                          kernels::MatrixView<const float> /*x*/,
                          kernels::MatrixView<const float> /*y*/) override {
      layers.push_back(linear.layer);
      return absl::OkStatus();
    }
    std::vector<std::string> layers;
  };
  const auto model = SmallEncoder({Scheme::kW8A8Dynamic});
  LayerKindTimes times;
  Recorder recorder;
  RunOptions options;
  options.times = &times;
  ASSERT_TRUE(model->Forward(SmallEncoderInput(9, 1), options).ok());
  for (const char* kind : {"attention.q", "attention.k", "attention.v", "up"}) {
    EXPECT_GT(times[kind].dot_ns, 0) << kind;
  }
  EXPECT_EQ(times.size(), 6);
  options.observer = &recorder;
  ASSERT_TRUE(model->Forward(SmallEncoderInput(1, 1), options).ok());
  EXPECT_THAT(recorder.layers,
              testing::ElementsAre("attention.q", "attention.k", "attention.v",
                                   "attention.out", "up", "down"));
}

}  // namespace
}  // namespace octet::model
