// model::Import: a config.json (and a pooling config) of a stranger over a
// fixed set of small tensors.
//
// Input: config.json, and after a NUL byte 1_Pooling/config.json.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "server/model/importer.h"

namespace {

using octet::model::TensorView;

constexpr std::string_view kModules = R"([
  {"idx": 0, "name": "0", "path": "",
   "type": "sentence_transformers.models.Transformer"},
  {"idx": 1, "name": "1", "path": "1_Pooling",
   "type": "sentence_transformers.models.Pooling"},
  {"idx": 2, "name": "2", "path": "2_Normalize",
   "type": "sentence_transformers.models.Normalize"}])";

// A BERT of one layer (width 4, FFN 8, 6 words) and an MLP fc1, fc2.
class SmallTensors : public octet::model::TensorSource {
 public:
  SmallTensors() {
    const std::string layer = "encoder.layer.0.";
    Add("embeddings.word_embeddings.weight", {6, 4});
    Add("embeddings.position_embeddings.weight", {5, 4});
    Add("embeddings.token_type_embeddings.weight", {2, 4});
    AddNorm("embeddings.LayerNorm");
    for (const char* name : {"query", "key", "value"}) {
      AddLinear(layer + "attention.self." + name, 4, 4);
    }
    AddLinear(layer + "attention.output.dense", 4, 4);
    AddNorm(layer + "attention.output.LayerNorm");
    AddLinear(layer + "intermediate.dense", 8, 4);
    AddLinear(layer + "output.dense", 4, 8);
    AddNorm(layer + "output.LayerNorm");
    AddLinear("fc1", 8, 4);
    AddLinear("fc2", 4, 8);
  }

  std::vector<std::string> Names() const override {
    std::vector<std::string> names;
    for (const auto& [name, shape] : shapes_) names.push_back(name);
    return names;
  }

  absl::StatusOr<TensorView> Find(std::string_view name) const override {
    const auto it = shapes_.find(name);
    if (it == shapes_.end()) return absl::NotFoundError(std::string(name));
    TensorView view;
    view.shape = it->second;
    size_t bytes = sizeof(float);
    for (const int64_t extent : view.shape) bytes *= extent;
    view.bytes = absl::MakeConstSpan(zeros_).subspan(0, bytes);
    return view;
  }

 private:
  void Add(const std::string& name, std::vector<int64_t> shape) {
    shapes_[name] = std::move(shape);
  }
  void AddNorm(const std::string& name) {
    Add(name + ".weight", {4});
    Add(name + ".bias", {4});
  }
  void AddLinear(const std::string& name, int64_t out, int64_t in) {
    Add(name + ".weight", {out, in});
    Add(name + ".bias", {out});
  }

  std::map<std::string, std::vector<int64_t>, std::less<>> shapes_;
  std::vector<std::byte> zeros_ = std::vector<std::byte>(1024);
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const SmallTensors tensors;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t end = text.find('\0');
  octet::model::ConfigFiles configs;
  configs["config.json"] = std::string(text.substr(0, end));
  if (end != text.npos) {
    configs["modules.json"] = std::string(kModules);
    configs["1_Pooling/config.json"] = std::string(text.substr(end + 1));
  }
  static_cast<void>(octet::model::Import(configs, tensors).ok());
  return 0;
}
