#include "server/model/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <random>

#include "server/model/importer.h"
#include "tests/server/model/tiny_bert.h"

namespace octet::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<uint32_t> BitsOf(absl::Span<const float> values) {
  std::vector<uint32_t> bits;
  for (const float value : values) {
    bits.push_back(std::bit_cast<uint32_t>(value));
  }
  return bits;
}

// fc1: W = [[1, -1], [2, 0]], b = [0, 1], relu; fc2: W = [[1, 10]]
std::unique_ptr<const Model> TinyMlp() {
  MemoryTensors tensors;
  tensors.SetFloat("fc1.weight", {2, 2}, {1, -1, 2, 0});
  tensors.SetFloat("fc1.bias", {2}, {0, 1});
  tensors.SetFloat("fc2.weight", {1, 2}, {1, 10});
  auto graph = Import({{"config.json", R"({"model_type": "mlp",
      "layers": ["fc1", "fc2"], "hidden_act": "relu"})"}},
                      tensors);
  return *Model::Create(*std::move(graph), tensors, {});
}

std::unique_ptr<const Model> TinyBert() {
  const MemoryTensors tensors = TinyBertTensors();
  auto graph = Import(WithSentencePooling(TinyBertConfig()), tensors);
  return *Model::Create(*std::move(graph), tensors, {});
}

ModelInput ThreeSequences() {
  ModelInput input;
  input.token_ids = {3, 19, 0, 7, 7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  input.lengths = {2, 1, 12};
  return input;
}

TEST(Forward, MlpByHand) {
  ModelInput input;
  input.features = {3, 1, -1, 2};
  input.feature_rows = 2;
  const auto output = TinyMlp()->Forward(input, {});
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_EQ(output->rows, 2);
  EXPECT_EQ(output->cols, 1);
  // [3, 1] -> [2, 7] -> 72;  [-1, 2] -> relu [-3, -1] = [0, 0] -> 0
  EXPECT_THAT(output->values, ElementsAre(72.0F, 0.0F));
}

// One layer, one head, width 2; norms with weight 1 and bias 0 make every row
// [1, -1] or [-1, 1], so that the fused residuals can be followed by hand.
TEST(Forward, BertResidualsAreAddedBeforeTheNorms) {
  MemoryTensors tensors;
  tensors.SetFloat("embeddings.word_embeddings.weight", {2, 2}, {5, 1, 0, 2});
  tensors.SetFloat("embeddings.position_embeddings.weight", {2, 2},
                   {0, 0, 0, 0});
  for (const char* norm :
       {"embeddings.LayerNorm", "encoder.layer.0.attention.output.LayerNorm",
        "encoder.layer.0.output.LayerNorm"}) {
    tensors.SetFloat(std::string(norm) + ".weight", {2}, {1, 1});
    tensors.SetFloat(std::string(norm) + ".bias", {2}, {0, 0});
  }
  const std::string layer = "encoder.layer.0.";
  for (const char* name : {"query", "key", "value"}) {
    tensors.SetFloat(layer + "attention.self." + name + ".weight", {2, 2},
                     {0, 0, 0, 0});
  }
  // The attention adds nothing, so its residual decides: [1, -1].
  tensors.SetFloat(layer + "attention.output.dense.weight", {2, 2},
                   {0, 0, 0, 0});
  tensors.SetFloat(layer + "intermediate.dense.weight", {1, 2}, {1, 0});
  // relu(1) = 1 -> [-3, 0]; with the residual [-2, -1], normed [-1, 1].
  tensors.SetFloat(layer + "output.dense.weight", {2, 1}, {-3, 0});
  auto graph = Import({{"config.json", R"({"model_type": "bert",
      "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1,
      "intermediate_size": 1, "vocab_size": 2, "max_position_embeddings": 2,
      "type_vocab_size": 0, "layer_norm_eps": 1e-12, "hidden_act": "relu"})"}},
                      tensors);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto model = Model::Create(*std::move(graph), tensors, {});
  ASSERT_TRUE(model.ok()) << model.status();
  ModelInput input;
  input.token_ids = {0};
  input.lengths = {1};
  const auto output = (*model)->Forward(input, {});
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_NEAR(output->values[0], -1.0F, 1e-6);
  EXPECT_NEAR(output->values[1], 1.0F, 1e-6);
}

// Enough for several chunks.
ModelInput ManySequences() {
  std::mt19937 random(1);
  ModelInput input;
  for (size_t i = 0; i < 200; ++i) {
    input.lengths.push_back(1 + static_cast<int32_t>(random() % 12));
    for (int32_t t = 0; t < input.lengths.back(); ++t) {
      input.token_ids.push_back(static_cast<int32_t>(random() % 20));
    }
  }
  return input;
}

// Each sequence by itself, one thread, one after the other.
std::vector<float> Alone(const Model& model, const ModelInput& batch,
                         OutputKind kind) {
  std::vector<float> alone;
  size_t start = 0;
  for (const int32_t length : batch.lengths) {
    ModelInput one;
    one.lengths = {length};
    one.token_ids.assign(batch.token_ids.begin() + start,
                         batch.token_ids.begin() + start + length);
    RunOptions single;
    single.output = kind;
    const auto output = model.Forward(one, single);
    EXPECT_TRUE(output.ok()) << output.status();
    if (!output.ok()) return {};
    alone.insert(alone.end(), output->values.begin(), output->values.end());
    start += length;
  }
  return alone;
}

TEST(Forward, ARaggedBatchIsEachSequenceAloneBitForBit) {
  const auto model = TinyBert();
  for (const ModelInput& batch : {ThreeSequences(), ManySequences()}) {
    for (const OutputKind kind : {OutputKind::kOutput, OutputKind::kHidden}) {
      const std::vector<float> alone = Alone(*model, batch, kind);
      for (const size_t threads : {1, 2, 3}) {
        kernels::ThreadPool pool(threads);
        RunOptions threaded;
        threaded.output = kind;
        threaded.pool = &pool;
        const auto together = model->Forward(batch, threaded);
        ASSERT_TRUE(together.ok()) << together.status();
        EXPECT_EQ(BitsOf(together->values), BitsOf(alone));
      }
    }
  }
}

// Matrices that the rows of an output fill one after the other, cut anywhere.
TEST(Forward, TheRowsOfTheOutputGoToWhereTheyAreWanted) {
  const auto model = TinyBert();
  const ModelInput batch = ManySequences();
  for (const OutputKind kind : {OutputKind::kOutput, OutputKind::kHidden}) {
    RunOptions options;
    options.output = kind;
    const auto whole = model->Forward(batch, options);
    ASSERT_TRUE(whole.ok()) << whole.status();
    std::vector<ModelOutput> parts;
    std::vector<kernels::MatrixView<float>> places;
    size_t rows = 0;
    for (const size_t size : {size_t{1}, size_t{30}, whole->rows - 31}) {
      parts.push_back(ModelOutput::Uninitialized(size, whole->cols));
    }
    for (ModelOutput& part : parts) places.push_back(part.view());
    ASSERT_TRUE(model->ForwardInto(batch, options, places).ok());
    for (const ModelOutput& part : parts) {
      const auto* expected = whole->values.data() + rows * whole->cols;
      EXPECT_EQ(
          BitsOf(part.values),
          BitsOf(std::vector<float>(expected, expected + part.values.size())));
      rows += part.rows;
    }
  }
}

TEST(Forward, PooledOutputHasUnitLengthAndHiddenHasARowPerToken) {
  const auto model = TinyBert();
  const auto output = model->Forward(ThreeSequences(), {});
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_EQ(output->rows, 3);
  EXPECT_EQ(output->cols, 8);
  for (size_t row = 0; row < 3; ++row) {
    double square = 0.0;
    for (size_t i = 0; i < 8; ++i) {
      square += std::pow(output->values[row * 8 + i], 2);
    }
    EXPECT_NEAR(square, 1.0, 1e-6);
  }
  RunOptions options;
  options.output = OutputKind::kHidden;
  const auto hidden = model->Forward(ThreeSequences(), options);
  ASSERT_TRUE(hidden.ok()) << hidden.status();
  EXPECT_EQ(hidden->rows, 15);
}

TEST(Forward, AnMlpHasNoHiddenStates) {
  ModelInput input;
  input.features = {3, 1};
  input.feature_rows = 1;
  RunOptions options;
  options.output = OutputKind::kHidden;
  EXPECT_EQ(TinyMlp()->Forward(input, options).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

class Recorder : public LinearObserver {
 public:
  absl::Status OnLinear(const Linear& linear,
                        kernels::MatrixView<const float> x,
                        kernels::MatrixView<const float> y) override {
    layers.push_back(linear.layer);
    EXPECT_EQ(x.cols, linear.in_features);
    EXPECT_EQ(y.cols, linear.out_features);
    xs.emplace_back(x.data, x.data + x.rows * x.cols);
    ys.emplace_back(y.data, y.data + y.rows * y.cols);
    if (layers.size() == stop_after) return absl::AbortedError("enough");
    return absl::OkStatus();
  }

  std::vector<std::string> layers;
  std::vector<std::vector<float>> xs;
  std::vector<std::vector<float>> ys;
  size_t stop_after = 0;
};

TEST(Observer, SeesInputsAndOutputsInExecutionOrder) {
  Recorder recorder;
  RunOptions options;
  options.observer = &recorder;
  ModelInput input;
  input.features = {3, 1};
  input.feature_rows = 1;
  ASSERT_TRUE(TinyMlp()->Forward(input, options).ok());
  EXPECT_THAT(recorder.layers, ElementsAre("fc1", "fc2"));
  EXPECT_THAT(recorder.xs, ElementsAre(ElementsAre(3, 1), ElementsAre(2, 7)));
  EXPECT_THAT(recorder.ys, ElementsAre(ElementsAre(2, 7), ElementsAre(72)));
}

TEST(Observer, AnErrorStopsTheRun) {
  Recorder recorder;
  recorder.stop_after = 2;
  RunOptions options;
  options.observer = &recorder;
  EXPECT_EQ(TinyBert()->Forward(ThreeSequences(), options).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(recorder.layers.size(), 2);
}

TEST(Substitutes, RunInPlaceOfTheModelsOwnLayers) {
  const auto model = TinyMlp();
  MemoryTensors tensors;
  tensors.SetFloat("fc2.weight", {1, 2}, {2, 3});
  const Linear* linear = model->graph().Linears()[1];
  const auto other = MakeLinearLayer(*linear, {}, tensors);
  ASSERT_TRUE(other.ok()) << other.status();
  const LinearSubstitutes substitutes = {{"fc2", other->get()}};
  ModelInput input;
  input.features = {3, 1};
  input.feature_rows = 1;
  RunOptions options;
  options.substitutes = &substitutes;
  const auto output = model->Forward(input, options);
  ASSERT_TRUE(output.ok()) << output.status();
  // [3, 1] -> [2, 7] as ever -> 2 * 2 + 7 * 3
  EXPECT_THAT(output->values, ElementsAre(25.0F));
}

TEST(Cancellation, IsAskedBetweenOperators) {
  const auto model = TinyBert();
  Recorder recorder;
  size_t asked = 0;
  RunOptions options;
  options.observer = &recorder;
  options.cancelled = [&] { return ++asked > 4; };
  EXPECT_EQ(model->Forward(ThreeSequences(), options).status().code(),
            absl::StatusCode::kCancelled);
  // Embedding, norm, query and key ran; the fifth operator did not.
  EXPECT_EQ(recorder.layers.size(), 2);
}

TEST(Cancellation, StopsEveryChunk) {
  const auto model = TinyBert();
  kernels::ThreadPool pool(3);
  std::atomic<size_t> asked = 0;
  RunOptions options;
  options.pool = &pool;
  options.cancelled = [&] { return ++asked > 4; };
  EXPECT_EQ(model->Forward(ManySequences(), options).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_LE(asked, 4 + pool.threads());
}

TEST(Forward, TimesAreKeptByKindOfLayer) {
  MemoryTensors tensors = TinyBertTensors();
  const std::string layer = "encoder.layer.0.output.dense";
  tensors.Set(layer + ".weight", DataType::kI8, {8, 16},
              std::vector<int8_t>(128, 1));
  tensors.SetFloat(layer + ".weight_scale", {8, 1}, std::vector<float>(8, .1F));
  auto graph = Import(TinyBertConfig(), tensors);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto model = Model::Create(*std::move(graph), tensors,
                                   {{layer, {Scheme::kW8A8Dynamic}}});
  ASSERT_TRUE(model.ok()) << model.status();
  LayerKindTimes times;
  RunOptions options;
  options.times = &times;
  ASSERT_TRUE((*model)->Forward(ThreeSequences(), options).ok());
  std::vector<std::string> kinds;
  for (const auto& [kind, unused] : times) kinds.push_back(kind);
  EXPECT_THAT(kinds, ElementsAre("attention.output.dense", "attention.self.key",
                                 "attention.self.query", "attention.self.value",
                                 "intermediate.dense", "output.dense"));
}

TEST(Create, APlanForALayerThatIsNotThereIsRefused) {
  const MemoryTensors tensors = TinyBertTensors();
  auto graph = Import(TinyBertConfig(), tensors);
  const auto model = Model::Create(*std::move(graph), tensors,
                                   {{"pooler.dense", {Scheme::kFp32}}});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()),
              HasSubstr("'pooler.dense'"));
}

TEST(FindLinear, AMissingLayerComesWithTheNearestNames) {
  const auto model = TinyBert();
  EXPECT_TRUE(model->FindLinear("encoder.layer.1.output.dense").ok());
  const auto missing = model->FindLinear("encoder.layer.1.output.dens");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()),
              HasSubstr("near it are 'encoder.layer.1.output.dense'"));
}

TEST(Forward, ALinearSetHasLayersButNoForward) {
  MemoryTensors tensors;
  tensors.SetRandom("a.weight", {3, 4});
  auto graph = Import({}, tensors);
  const auto model = Model::Create(*std::move(graph), tensors, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->FindLinear("a").ok());
  EXPECT_GE((*model)->resident_bytes(), 3 * 4 * 4);
  EXPECT_EQ((*model)->Forward({}, {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(LayerKind, IsWhatComesAfterTheLastNumber) {
  EXPECT_EQ(LayerKind("encoder.layer.3.output.dense"), "output.dense");
  EXPECT_EQ(LayerKind("h.1.experts.22.up"), "up");
  EXPECT_EQ(LayerKind("fc1"), "fc1");
  EXPECT_EQ(LayerKind("net.0"), "net");
  EXPECT_EQ(LayerKind("h.3.experts.7"), "experts");
  EXPECT_EQ(LayerKind("7"), "7");
  EXPECT_EQ(LayerKind(""), "");
}

}  // namespace
}  // namespace octet::model
