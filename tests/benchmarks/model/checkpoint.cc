#include "tests/benchmarks/model/checkpoint.h"

#include <fstream>
#include <map>
#include <string>
#include <utility>

#include "kernels/status_macros.h"
#include "server/bundle/safetensors.h"
#include "server/model/importer.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/layer_samples.h"
#include "server/quantization/methods/layer_plan.h"
#include "server/quantization/methods/layer_quantizer.h"

namespace octet::benchmarks {
namespace {

using model::TensorView;

// The checkpoint's tensors, some of them replaced.
class Overlay : public model::TensorSource {
 public:
  explicit Overlay(const TensorSource& base) : base_(base) {}

  std::vector<std::string> Names() const override {
    std::map<std::string, bool> names;
    for (const std::string& name : base_.Names()) names[name];
    for (const auto& [name, view] : views_) names[name];
    std::vector<std::string> sorted;
    for (const auto& [name, unused] : names) sorted.push_back(name);
    return sorted;
  }
  absl::StatusOr<TensorView> Find(std::string_view name) const override {
    const auto found = views_.find(name);
    return found == views_.end() ? base_.Find(name) : found->second;
  }

  absl::Status Quantize(const model::Linear& linear) {
    const std::string name = model::StrCat(linear.layer, ".weight");
    const auto n = static_cast<int64_t>(linear.out_features);
    const auto k = static_cast<int64_t>(linear.in_features);
    ASSIGN_OR_RETURN(const std::vector<float> weights,
                     model::FindFloat(base_, name, {n, k}));
    quantization::LayerPlan plan;
    plan.scheme.scheme = model::Scheme::kW8A8Dynamic;
    ASSIGN_OR_RETURN(
        quantization::QuantizedLayer quantized,
        quantization::QuantizeLayer(
            name, {weights.data(), linear.out_features, linear.in_features}, {},
            plan, {}, nullptr));
    const auto& kept = kept_[name] = std::move(quantized);
    views_[name] = {model::DataType::kI8,
                    {n, k},
                    absl::MakeConstSpan(
                        reinterpret_cast<const std::byte*>(kept.codes.data()),
                        kept.codes.size())};
    views_[model::StrCat(name, "_scale")] = {
        model::DataType::kF32,
        {n, 1},
        absl::MakeConstSpan(
            reinterpret_cast<const std::byte*>(kept.scales.data()),
            kept.scales.size() * sizeof(float))};
    return absl::OkStatus();
  }

 private:
  const TensorSource& base_;
  std::map<std::string, quantization::QuantizedLayer> kept_;
  std::map<std::string, TensorView, std::less<>> views_;
};

model::ConfigFiles ReadConfigs(const std::filesystem::path& directory) {
  model::ConfigFiles files;
  for (const char* name :
       {"config.json", "modules.json", "1_Pooling/config.json"}) {
    std::ifstream in(directory / name, std::ios::binary);
    if (!in) continue;
    files[name] = {std::istreambuf_iterator<char>(in), {}};
  }
  return files;
}

}  // namespace

absl::StatusOr<std::unique_ptr<const model::Model>> LoadCheckpoint(
    const std::filesystem::path& directory, model::Scheme scheme) {
  ASSIGN_OR_RETURN(const auto tensors,
                   bundle::OpenSafetensors(directory / "model.safetensors"));
  ASSIGN_OR_RETURN(model::Graph graph,
                   model::Import(ReadConfigs(directory), *tensors));
  Overlay overlay(*tensors);
  model::Plan plan;
  for (const model::Linear* linear : graph.Linears()) {
    plan[linear->layer] = {scheme, 0.0F};
    if (!model::IsInt8(scheme)) continue;
    RETURN_IF_ERROR(overlay.Quantize(*linear));
  }
  return model::Model::Create(std::move(graph), overlay, plan);
}

}  // namespace octet::benchmarks
