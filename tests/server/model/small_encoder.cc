#include "tests/server/model/small_encoder.h"

#include <cstdint>
#include <random>
#include <vector>

namespace octet::model {
namespace {

constexpr size_t kWidth = 64;
constexpr size_t kInner = 96;

Linear Step(const std::string& layer, size_t in, size_t out, ValueId input,
            ValueId output) {
  Linear linear;
  linear.layer = layer;
  linear.has_bias = true;
  linear.in_features = in;
  linear.out_features = out;
  linear.input = input;
  linear.output = output;
  return linear;
}

void SetLinear(MemoryTensors& tensors, const Linear& linear) {
  std::mt19937 random(static_cast<uint32_t>(linear.layer.back()));
  const auto n = static_cast<int64_t>(linear.out_features);
  const auto k = static_cast<int64_t>(linear.in_features);
  std::vector<int8_t> codes(linear.out_features * linear.in_features);
  for (int8_t& code : codes) {
    code = static_cast<int8_t>(static_cast<int32_t>(random() % 255) - 127);
  }
  std::vector<float> scales(linear.out_features);
  for (float& scale : scales) {
    scale = 1e-3F * static_cast<float>(1 + random() % 3);
  }
  const std::string& layer = linear.layer;
  tensors.Set(layer + ".weight", DataType::kI8, {n, k}, codes);
  tensors.SetFloat(layer + ".weight_scale", {n, 1}, scales);
  tensors.SetRandom(layer + ".bias", {n});
  tensors.SetFloat(layer + ".input_scale", {1}, {0.03F});
  tensors.Set(layer + ".input_zero_point", DataType::kI8, {1},
              std::vector<int8_t>{-3});
  std::vector<float> inverse_smoothing(linear.in_features);
  for (size_t i = 0; i < inverse_smoothing.size(); ++i) {
    inverse_smoothing[i] = 0.5F + 0.25F * static_cast<float>(i % 5);
  }
  tensors.SetFloat(layer + ".inverse_smoothing", {k}, inverse_smoothing);
  tensors.Set(layer + ".outlier_columns", DataType::kI32, {2},
              std::vector<int32_t>{5, 40});
  std::vector<uint16_t> outliers(2 * linear.out_features);
  for (uint16_t& bits : outliers) bits = 0x3000 + random() % 64;  // some 1/8
  tensors.Set(layer + ".outlier_weight", DataType::kF16, {2, n}, outliers);
}

}  // namespace

Graph SmallEncoderGraph() {
  Graph graph;
  graph.family = "test";
  graph.input = InputKind::kTokens;
  graph.vocabulary = kEncoderVocabulary;
  graph.max_positions = 600;
  Linear out = Step("attention.out", kWidth, kWidth, 5, 6);
  out.residual = 1;
  Linear up = Step("up", kWidth, kInner, 7, 8);
  up.activation = kernels::Activation::kGelu;
  Linear down = Step("down", kInner, kWidth, 8, 9);
  down.residual = 7;
  graph.widths = {kWidth, kWidth, kWidth, kWidth, kWidth, kWidth,
                  kWidth, kWidth, kInner, kWidth, kWidth, kWidth};
  graph.operators = {Embedding{"tokens", "", "", 0},
                     LayerNorm{"norm0", 1e-6F, 0, 1},
                     Step("attention.q", kWidth, kWidth, 1, 2),
                     Step("attention.k", kWidth, kWidth, 1, 3),
                     Step("attention.v", kWidth, kWidth, 1, 4),
                     Attention{2, 2, 3, 4, 5},
                     out,
                     LayerNorm{"norm1", 1e-6F, 6, 7},
                     up,
                     down,
                     LayerNorm{"norm2", 1e-6F, 9, 10},
                     Pooling{PoolingMode::kMean, 10, 11}};
  graph.hidden = 10;
  graph.output = 11;
  return graph;
}

MemoryTensors SmallEncoderTensors() {
  MemoryTensors tensors;
  tensors.SetRandom("tokens", {static_cast<int64_t>(kEncoderVocabulary),
                               static_cast<int64_t>(kWidth)});
  for (const char* norm : {"norm0", "norm1", "norm2"}) {
    const std::string name = norm;
    tensors.SetRandom(name + ".weight", {static_cast<int64_t>(kWidth)});
    tensors.SetRandom(name + ".bias", {static_cast<int64_t>(kWidth)});
  }
  const Graph graph = SmallEncoderGraph();
  for (const Linear* linear : graph.Linears()) SetLinear(tensors, *linear);
  return tensors;
}

Plan SmallEncoderPlan(const LinearScheme& scheme) {
  Plan plan;
  const Graph graph = SmallEncoderGraph();
  for (const Linear* linear : graph.Linears()) plan[linear->layer] = scheme;
  return plan;
}

std::unique_ptr<const Model> SmallEncoder(const LinearScheme& scheme) {
  return *Model::Create(SmallEncoderGraph(), SmallEncoderTensors(),
                        SmallEncoderPlan(scheme));
}

ModelInput SmallEncoderInput(size_t sequences, uint32_t seed) {
  std::mt19937 random(seed);
  ModelInput input;
  for (size_t i = 0; i < sequences; ++i) {
    input.lengths.push_back(1 + static_cast<int32_t>(random() % 24));
    for (int32_t t = 0; t < input.lengths.back(); ++t) {
      input.token_ids.push_back(
          static_cast<int32_t>(random() % kEncoderVocabulary));
    }
  }
  return input;
}

}  // namespace octet::model
