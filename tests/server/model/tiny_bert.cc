#include "tests/server/model/tiny_bert.h"

#include "server/model/str_cat.h"

namespace octet::model {
namespace {

void AddLinear(MemoryTensors& tensors, const std::string& layer, int64_t out,
               int64_t in) {
  tensors.SetRandom(StrCat(layer, ".weight"), {out, in});
  tensors.SetRandom(StrCat(layer, ".bias"), {out});
}

void AddNorm(MemoryTensors& tensors, const std::string& layer) {
  tensors.SetRandom(StrCat(layer, ".weight"), {8});
  tensors.SetRandom(StrCat(layer, ".bias"), {8});
}

}  // namespace

MemoryTensors TinyBertTensors(const std::string& prefix) {
  MemoryTensors tensors;
  const std::string embeddings = StrCat(prefix, "embeddings.");
  tensors.SetRandom(StrCat(embeddings, "word_embeddings.weight"), {20, 8});
  tensors.SetRandom(StrCat(embeddings, "position_embeddings.weight"), {12, 8});
  tensors.SetRandom(StrCat(embeddings, "token_type_embeddings.weight"), {2, 8});
  AddNorm(tensors, StrCat(embeddings, "LayerNorm"));
  for (int i = 0; i < 2; ++i) {
    const std::string layer = StrCat(prefix, "encoder.layer.", i, ".");
    for (const char* name : {"query", "key", "value"}) {
      AddLinear(tensors, StrCat(layer, "attention.self.", name), 8, 8);
    }
    AddLinear(tensors, StrCat(layer, "attention.output.dense"), 8, 8);
    AddNorm(tensors, StrCat(layer, "attention.output.LayerNorm"));
    AddLinear(tensors, StrCat(layer, "intermediate.dense"), 16, 8);
    AddLinear(tensors, StrCat(layer, "output.dense"), 8, 16);
    AddNorm(tensors, StrCat(layer, "output.LayerNorm"));
  }
  return tensors;
}

ConfigFiles TinyBertConfig() {
  return {{"config.json", R"({
    "model_type": "bert", "hidden_size": 8, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 20,
    "max_position_embeddings": 12, "type_vocab_size": 2,
    "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    "position_embedding_type": "absolute"})"}};
}

ConfigFiles TinyBertConfigWith(const std::string& pattern,
                               const std::string& replacement) {
  ConfigFiles files = TinyBertConfig();
  std::string& config = files["config.json"];
  config.replace(config.find(pattern), pattern.size(), replacement);
  return files;
}

ConfigFiles WithSentencePooling(ConfigFiles files) {
  files["modules.json"] = R"([
    {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "path": "1_Pooling",
     "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "path": "2_Normalize",
     "type": "sentence_transformers.models.Normalize"}])";
  files["1_Pooling/config.json"] = R"({
    "word_embedding_dimension": 8, "pooling_mode_cls_token": false,
    "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false})";
  return files;
}

}  // namespace octet::model
