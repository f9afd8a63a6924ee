#include "server/rpc/oip/model.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/str_join.h"
#include "kernels/status_macros.h"
#include "server/bundle/io.h"
#include "server/model/hidden_output.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/status.h"

namespace octet::rpc::oip {
namespace {

using model::StrCat;

constexpr std::string_view kInt64 = "INT64";
constexpr std::string_view kFp32 = "FP32";

// serving::Priority has so many; the second is the default.
constexpr uint64_t kPriorities = 3;
constexpr uint64_t kDefaultPriority = 2;

absl::StatusOr<std::optional<int64_t>> ParseVersion(std::string_view text) {
  if (text.empty()) return std::nullopt;
  int64_t version = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), version);
  if (error == std::errc() && end == text.data() + text.size()) return version;
  return FieldViolation(
      "model_version",
      StrCat(bundle::Quoted(text), " is not a number; leave it out for any"));
}

const model::Linear* FindLayer(const Served& served) {
  for (const model::Linear* linear : served.graph().Linears()) {
    if (linear->layer == served.layer) return linear;
  }
  return nullptr;
}

bool HasTypes(const model::Graph& graph) {
  return std::any_of(graph.operators.begin(), graph.operators.end(),
                     [](const model::Operator& op) {
                       const auto* table = std::get_if<model::Embedding>(&op);
                       return table != nullptr && !table->type_table.empty();
                     });
}

int64_t Width(const model::Graph& graph, std::optional<model::ValueId> value) {
  return value ? static_cast<int64_t>(graph.widths[*value]) : -1;
}

std::string Platform(const Served& served) {
  return StrCat("octet_",
                served.layer.empty() ? served.graph().family : "linear");
}

void FillTensor(const TensorSpec& spec,
                inference::ModelMetadataResponse::TensorMetadata* out) {
  out->set_name(std::string(spec.name));
  out->set_datatype(std::string(spec.datatype));
  out->mutable_shape()->Add(spec.shape.begin(), spec.shape.end());
}

// Of an input or an output; a configuration's dimensions leave out the batch.
template <typename Message>
void FillTensor(const TensorSpec& spec, Message* out) {
  out->set_name(std::string(spec.name));
  out->set_data_type(spec.datatype == kInt64 ? inference::TYPE_INT64
                                             : inference::TYPE_FP32);
  out->mutable_dims()->Add(spec.shape.begin() + 1, spec.shape.end());
}

void FillParameters(const Served& served, inference::ModelConfig* config) {
  const auto set = [config](const char* key, std::string value) {
    (*config->mutable_parameters())[key].set_string_value(std::move(value));
  };
  const model::Graph& graph = served.graph();
  set("source", served.model->source());
  set("family", graph.family);
  set("isa", served.model->isa());
  if (!served.layer.empty()) return;
  if (graph.input == model::InputKind::kTokens) {
    set("vocabulary_size", std::to_string(graph.vocabulary));
    set("max_sequence_length", std::to_string(graph.max_positions));
  }
  std::vector<std::string> layers;
  for (const model::Linear* linear : graph.Linears()) {
    layers.push_back(StrCat(served.model->id(), ".", linear->layer));
  }
  set("layers", absl::StrJoin(layers, ","));
}

absl::StatusOr<std::shared_ptr<const serving::LoadedModel>> Find(
    const serving::ModelRegistry& models, std::string_view id,
    std::optional<int64_t> version, Purpose purpose) {
  switch (purpose) {
    case Purpose::kUse:
      return models.Find(id, version);
    case Purpose::kAsk:
      return models.FindReady(id, version);
    case Purpose::kDescribe:
      break;
  }
  return models.FindPrimary(id, version);
}

}  // namespace

std::string Served::name() const {
  return layer.empty() ? model->id() : StrCat(model->id(), ".", layer);
}

std::string Served::version() const { return std::to_string(model->version()); }

absl::StatusOr<Served> Resolve(const serving::ModelRegistry& models,
                               std::string_view name, std::string_view version,
                               Purpose purpose) {
  if (name.empty()) {
    return FieldViolation("model_name", "is empty; name a model");
  }
  ASSIGN_OR_RETURN(const std::optional<int64_t> wanted, ParseVersion(version));
  const size_t dot = name.find('.');
  Served served;
  const std::string_view id = name.substr(0, dot);
  ASSIGN_OR_RETURN(served.model, Find(models, id, wanted, purpose));
  if (dot == std::string_view::npos) return served;
  served.layer = name.substr(dot + 1);
  RETURN_IF_ERROR(served.model->model().FindLinear(served.layer).status());
  return served;
}

std::vector<Served> AllVersions(const serving::ModelRegistry& models,
                                const Served& served) {
  std::vector<Served> versions;
  for (const auto& model : models.List()) {
    if (model->id() != served.model->id()) continue;
    if (!served.layer.empty() &&
        !model->model().FindLinear(served.layer).ok()) {
      continue;
    }
    versions.push_back({model, served.layer});
  }
  return versions;
}

const TensorSpec* FindSpec(const std::vector<TensorSpec>& specs,
                           std::string_view name) {
  for (const TensorSpec& spec : specs) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

std::string Names(const std::vector<TensorSpec>& specs) {
  return absl::StrJoin(specs, ", ", [](std::string* out, const auto& spec) {
    out->append(spec.name);
  });
}

std::vector<TensorSpec> InputsOf(const Served& served) {
  if (const model::Linear* layer = FindLayer(served)) {
    return {{kX, kFp32, {-1, static_cast<int64_t>(layer->in_features)}}};
  }
  const model::Graph& graph = served.graph();
  switch (graph.input) {
    case model::InputKind::kTokens: {
      std::vector<TensorSpec> inputs = {{kInputIds, kInt64, {-1, -1}},
                                        {kAttentionMask, kInt64, {-1, -1}}};
      if (HasTypes(graph)) inputs.push_back({kTokenTypeIds, kInt64, {-1, -1}});
      for (TensorSpec& input : inputs) input.optional = input.name != kInputIds;
      return inputs;
    }
    case model::InputKind::kFeatures:
      return {{kX, kFp32, {-1, static_cast<int64_t>(graph.input_width)}}};
    case model::InputKind::kNone:
      return {};
  }
  return {};
}

std::vector<TensorSpec> OutputsOf(const Served& served) {
  if (const model::Linear* layer = FindLayer(served)) {
    return {{kY, kFp32, {-1, static_cast<int64_t>(layer->out_features)}}};
  }
  const model::Graph& graph = served.graph();
  if (graph.input == model::InputKind::kNone) return {};
  if (graph.input == model::InputKind::kFeatures) {
    return {{kY, kFp32, {-1, Width(graph, graph.output)}}};
  }
  std::vector<TensorSpec> outputs = {
      {kHiddenState, kFp32, {-1, -1, Width(graph, graph.hidden)}}};
  if (model::HasHiddenOutput(graph)) {
    outputs.push_back({kEmbedding, kFp32, {-1, Width(graph, graph.output)}});
  }
  return outputs;
}

void FillMetadata(const Served& served, const std::vector<Served>& versions,
                  inference::ModelMetadataResponse* response) {
  response->set_name(served.name());
  for (const Served& one : versions) response->add_versions(one.version());
  response->set_platform(Platform(served));
  for (const TensorSpec& spec : InputsOf(served)) {
    FillTensor(spec, response->add_inputs());
  }
  for (const TensorSpec& spec : OutputsOf(served)) {
    FillTensor(spec, response->add_outputs());
  }
}

void FillConfig(const Served& served,
                const serving::SchedulerOptions& scheduler,
                inference::ModelConfig* config) {
  config->set_name(served.name());
  config->set_platform(Platform(served));
  config->set_backend("octet");
  config->mutable_version_policy()->mutable_all();
  config->set_max_batch_size(static_cast<int32_t>(kMaxBatch));
  for (const TensorSpec& spec : InputsOf(served)) {
    inference::ModelInput* input = config->add_input();
    FillTensor(spec, input);
    input->set_optional(spec.optional);
  }
  for (const TensorSpec& spec : OutputsOf(served)) {
    FillTensor(spec, config->add_output());
  }
  auto* batching = config->mutable_dynamic_batching();
  batching->set_priority_levels(kPriorities);
  batching->set_default_priority_level(kDefaultPriority);
  batching->set_max_queue_delay_microseconds(
      static_cast<uint64_t>(absl::ToInt64Microseconds(scheduler.batch_wait)));
  inference::ModelInstanceGroup* group = config->add_instance_group();
  group->set_name(served.name());
  group->set_kind(inference::ModelInstanceGroup::KIND_CPU);
  group->set_count(static_cast<int32_t>(scheduler.workers));
  config->mutable_model_transaction_policy()->set_decoupled(false);
  FillParameters(served, config);
}

}  // namespace octet::rpc::oip
