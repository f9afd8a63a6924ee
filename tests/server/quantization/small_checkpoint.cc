#include "tests/server/quantization/small_checkpoint.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <utility>

#include "gtest/gtest.h"
#include "server/bundle/safetensors.h"
#include "server/quantization/storage/storage.h"

namespace octet::quantization {

namespace fs = std::filesystem;

const std::string_view kBertConfig = R"({
  "model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1,
  "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 30,
  "max_position_embeddings": 12, "type_vocab_size": 2,
  "layer_norm_eps": 1e-12, "hidden_act": "gelu"})";

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (fs::temp_directory_path() / "octet-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) std::abort();
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code error;
  fs::remove_all(path_, error);
}

std::vector<float> RandomValues(size_t count, uint32_t seed, float sigma) {
  std::mt19937 generator(seed);
  std::vector<float> values(count);
  // A sum of uniforms, since std::normal_distribution differs by library.
  for (float& value : values) {
    double sum = -6.0;
    for (int i = 0; i < 12; ++i) sum += generator() / 4294967296.0;
    value = static_cast<float>(sum * sigma);
  }
  return values;
}

void WriteText(const fs::path& file, std::string_view text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

std::string ReadText(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

void WriteCheckpoint(const fs::path& directory,
                     const std::vector<SmallTensor>& tensors,
                     std::string_view config) {
  std::vector<bundle::TensorInfo> infos;
  for (const SmallTensor& tensor : tensors) {
    infos.push_back({tensor.name, tensor.type, tensor.shape});
  }
  auto writer = bundle::SafetensorsWriter::Create(
      directory / "model.safetensors", infos, {});
  ASSERT_THAT(writer, IsOk());
  for (const SmallTensor& tensor : tensors) {
    std::vector<std::byte> bytes;
    if (tensor.type == model::DataType::kI64) {
      bytes.resize(tensor.values.size() * sizeof(int64_t));
      for (size_t i = 0; i < tensor.values.size(); ++i) {
        const auto value = static_cast<int64_t>(tensor.values[i]);
        std::memcpy(bytes.data() + i * sizeof(value), &value, sizeof(value));
      }
    } else {
      bytes = EncodeFloat(tensor.values, tensor.type, nullptr);
    }
    ASSERT_THAT((*writer)->Append(tensor.name, bytes), IsOk());
  }
  ASSERT_THAT((*writer)->Finish(), IsOk());
  if (!config.empty()) WriteText(directory / "config.json", config);
}

std::vector<SmallTensor> MlpTensors() {
  return {
      {"fc1.weight",
       {kMlpHidden, kMlpIn},
       RandomValues(kMlpHidden * kMlpIn, 1, 0.2F)},
      {"fc1.bias", {kMlpHidden}, RandomValues(kMlpHidden, 2, 0.1F)},
      {"fc2.weight",
       {kMlpOut, kMlpHidden},
       RandomValues(kMlpOut * kMlpHidden, 3, 0.2F)},
      {"fc2.bias", {kMlpOut}, RandomValues(kMlpOut, 4, 0.1F)},
  };
}

std::vector<SmallTensor> BertTensors() {
  std::vector<SmallTensor> tensors;
  uint32_t seed = 10;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape,
                       float sigma) {
    size_t count = 1;
    for (const int64_t extent : shape) count *= extent;
    tensors.push_back(
        {name, std::move(shape), RandomValues(count, seed++, sigma)});
  };
  const auto add_linear = [&](const std::string& name, int64_t out,
                              int64_t in) {
    add(name + ".weight", {out, in}, 0.2F);
    add(name + ".bias", {out}, 0.1F);
  };
  const auto add_norm = [&](const std::string& name) {
    tensors.push_back({name + ".weight", {16}, std::vector<float>(16, 1.0F)});
    tensors.push_back({name + ".bias", {16}, std::vector<float>(16, 0.0F)});
  };
  add("embeddings.word_embeddings.weight", {30, 16}, 1.0F);
  add("embeddings.position_embeddings.weight", {12, 16}, 0.3F);
  add("embeddings.token_type_embeddings.weight", {2, 16}, 0.1F);
  tensors.push_back({"embeddings.position_ids",
                     {1, 3},
                     {0.0F, 1.0F, 2.0F},
                     model::DataType::kI64});
  add_norm("embeddings.LayerNorm");
  const std::string layer = "encoder.layer.0.";
  for (const char* name : {"query", "key", "value"}) {
    add_linear(layer + "attention.self." + name, 16, 16);
  }
  add_linear(layer + "attention.output.dense", 16, 16);
  add_norm(layer + "attention.output.LayerNorm");
  add_linear(layer + "intermediate.dense", 32, 16);
  add_linear(layer + "output.dense", 16, 32);
  add_norm(layer + "output.LayerNorm");
  return tensors;
}

OpenedModel OpenFloat(const fs::path& directory) {
  OpenedModel opened;
  auto files = bundle::OpenModelFiles(directory);
  EXPECT_THAT(files, IsOk());
  if (!files.ok()) std::abort();
  opened.files = *std::move(files);
  auto model = bundle::LoadFloatModel(opened.files);
  EXPECT_THAT(model, IsOk());
  if (!model.ok()) std::abort();
  opened.model = *std::move(model);
  return opened;
}

model::ModelInput Features(std::vector<float> values, size_t rows) {
  model::ModelInput input;
  input.features = std::move(values);
  input.feature_rows = rows;
  return input;
}

model::ModelInput Tokens(std::vector<std::vector<int32_t>> sequences) {
  model::ModelInput input;
  for (const std::vector<int32_t>& sequence : sequences) {
    input.lengths.push_back(static_cast<int32_t>(sequence.size()));
    input.token_ids.insert(input.token_ids.end(), sequence.begin(),
                           sequence.end());
  }
  return input;
}

}  // namespace octet::quantization
