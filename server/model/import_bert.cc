// BertModel: an embedding, then post-norm encoder layers
//   a = LayerNorm(x + W_o attention(x W_q, x W_k, x W_v))
//   x = LayerNorm(a + W_2 act(W_1 a))
// and the pooling and normalization of a sentence embedding model, where
// modules.json asks for them.

#include <array>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "kernels/status_macros.h"
#include "server/model/import_support.h"
#include "server/model/str_cat.h"

namespace octet::model {
namespace {

constexpr size_t kMaxWidth = 1 << 16;
constexpr size_t kMaxLayers = 1 << 12;
constexpr size_t kMaxPositions = 1 << 20;
constexpr size_t kMaxVocabulary = INT32_MAX;  // ids travel as int32

struct BertConfig {
  size_t hidden;
  size_t layers;
  size_t heads;
  size_t intermediate;
  size_t vocabulary;
  size_t positions;
  size_t types;
  float epsilon;
  kernels::Activation activation;
};

// What would change the arithmetic and is not in the graph is refused.
absl::Status CheckSupported(const JsonFields& config) {
  if (config.Has("position_embedding_type")) {
    ASSIGN_OR_RETURN(const std::string type,
                     config.Text("position_embedding_type"));
    if (type != std::string_view("absolute")) {
      return absl::UnimplementedError(
          StrCat("config.json: 'position_embedding_type' is '",
                 type.substr(0, 40), "'; only 'absolute' is known"));
    }
  }
  for (const char* field : {"is_decoder", "add_cross_attention"}) {
    ASSIGN_OR_RETURN(const bool set, config.Flag(field, false));
    if (set) {
      return absl::UnimplementedError(
          StrCat("config.json: '", field,
                 "' is true; only the BERT encoder is known"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<BertConfig> ParseConfig(const ConfigFiles& configs) {
  ASSIGN_OR_RETURN(const JsonFields json,
                   JsonFields::Parse(configs, "config.json"));
  RETURN_IF_ERROR(CheckSupported(json));
  BertConfig config{};
  ASSIGN_OR_RETURN(config.hidden, json.Size("hidden_size", 1, kMaxWidth));
  ASSIGN_OR_RETURN(config.layers,
                   json.Size("num_hidden_layers", 1, kMaxLayers));
  ASSIGN_OR_RETURN(config.heads,
                   json.Size("num_attention_heads", 1, kMaxWidth));
  ASSIGN_OR_RETURN(config.intermediate,
                   json.Size("intermediate_size", 1, kMaxWidth));
  ASSIGN_OR_RETURN(config.vocabulary,
                   json.Size("vocab_size", 1, kMaxVocabulary));
  ASSIGN_OR_RETURN(config.positions,
                   json.Size("max_position_embeddings", 1, kMaxPositions));
  config.types = 2;
  if (json.Has("type_vocab_size")) {
    ASSIGN_OR_RETURN(config.types,
                     json.Size("type_vocab_size", 0, kMaxPositions));
  }
  ASSIGN_OR_RETURN(config.epsilon,
                   json.PositiveFloat("layer_norm_eps", 1e-12F));
  ASSIGN_OR_RETURN(config.activation, ParseActivation(json, "hidden_act"));
  if (config.hidden % config.heads != 0) {
    return json.Error(
        "num_attention_heads",
        StrCat("is ", config.heads, "; it must divide 'hidden_size', which is ",
               config.hidden));
  }
  return config;
}

// What stands before "embeddings.word_embeddings.weight": nothing, or "bert.".
absl::StatusOr<std::string> FindPrefix(const TensorSource& tensors) {
  static constexpr std::string_view kTable =
      "embeddings.word_embeddings.weight";
  std::vector<std::string> prefixes;
  for (const std::string& name : tensors.Names()) {
    if (!name.ends_with(kTable)) continue;
    std::string prefix = name.substr(0, name.size() - kTable.size());
    if (prefix.empty() || prefix.back() == '.') {
      prefixes.push_back(std::move(prefix));
    }
  }
  if (prefixes.empty()) {
    return absl::InvalidArgumentError(
        StrCat("tensor '", kTable, "' is missing (with any prefix)"));
  }
  if (prefixes.size() > 1) {
    return absl::InvalidArgumentError(
        StrCat("two tensors could be the token table: '", prefixes[0], kTable,
               "' and '", prefixes[1], kTable, "'"));
  }
  return prefixes.front();
}

// Adds operators one by one; each makes one new value.
class BertBuilder {
 public:
  BertBuilder(const BertConfig& config, std::string prefix,
              const TensorSource& tensors)
      : config_(config), prefix_(std::move(prefix)), tensors_(tensors) {
    graph_.family = "bert";
    graph_.input = InputKind::kTokens;
    graph_.vocabulary = config.vocabulary;
    graph_.max_positions = config.positions;
  }

  absl::StatusOr<Graph> Build() && {
    ASSIGN_OR_RETURN(ValueId x, AddEmbedding());
    ASSIGN_OR_RETURN(x, AddNorm("embeddings.LayerNorm", x));
    for (size_t i = 0; i < config_.layers; ++i) {
      ASSIGN_OR_RETURN(x, AddLayer(StrCat("encoder.layer.", i, "."), x));
    }
    graph_.hidden = x;
    graph_.output = x;
    return std::move(graph_);
  }

 private:
  ValueId NewValue(size_t width) {
    graph_.widths.push_back(width);
    return graph_.widths.size() - 1;
  }

  absl::Status CheckTable(const std::string& name, size_t rows) const {
    const std::array<int64_t, 2> shape = {static_cast<int64_t>(rows),
                                          static_cast<int64_t>(config_.hidden)};
    return CheckFloatTensor(tensors_, name, shape);
  }

  absl::StatusOr<ValueId> AddEmbedding() {
    Embedding op;
    const std::string base = StrCat(prefix_, "embeddings.");
    op.token_table = StrCat(base, "word_embeddings.weight");
    op.position_table = StrCat(base, "position_embeddings.weight");
    RETURN_IF_ERROR(CheckTable(op.token_table, config_.vocabulary));
    RETURN_IF_ERROR(CheckTable(op.position_table, config_.positions));
    if (config_.types > 0) {
      op.type_table = StrCat(base, "token_type_embeddings.weight");
      RETURN_IF_ERROR(CheckTable(op.type_table, config_.types));
    }
    op.output = NewValue(config_.hidden);
    graph_.operators.emplace_back(op);
    return op.output;
  }

  absl::StatusOr<ValueId> AddNorm(std::string_view name, ValueId x) {
    LayerNorm op;
    op.layer = StrCat(prefix_, name);
    op.epsilon = config_.epsilon;
    op.input = x;
    RETURN_IF_ERROR(CheckLayerNorm(tensors_, op.layer, config_.hidden));
    op.output = NewValue(config_.hidden);
    graph_.operators.emplace_back(op);
    return op.output;
  }

  absl::StatusOr<ValueId> AddLinear(
      std::string_view name, ValueId x, size_t out,
      kernels::Activation activation = kernels::Activation::kNone,
      std::optional<ValueId> residual = std::nullopt) {
    ASSIGN_OR_RETURN(Linear op, CheckLinear(tensors_, StrCat(prefix_, name),
                                            out, graph_.widths[x]));
    op.activation = activation;
    op.residual = residual;
    op.input = x;
    op.output = NewValue(out);
    const ValueId output = op.output;
    graph_.operators.emplace_back(std::move(op));
    return output;
  }

  absl::StatusOr<ValueId> AddAttention(const std::string& layer, ValueId x) {
    const std::string self = StrCat(layer, "attention.self.");
    const size_t width = config_.hidden;
    Attention op;
    op.heads = config_.heads;
    ASSIGN_OR_RETURN(op.query, AddLinear(StrCat(self, "query"), x, width));
    ASSIGN_OR_RETURN(op.key, AddLinear(StrCat(self, "key"), x, width));
    ASSIGN_OR_RETURN(op.value, AddLinear(StrCat(self, "value"), x, width));
    op.output = NewValue(width);
    graph_.operators.emplace_back(op);
    return op.output;
  }

  absl::StatusOr<ValueId> AddLayer(const std::string& layer, ValueId x) {
    using kernels::Activation;
    ASSIGN_OR_RETURN(ValueId a, AddAttention(layer, x));
    ASSIGN_OR_RETURN(a, AddLinear(StrCat(layer, "attention.output.dense"), a,
                                  config_.hidden, Activation::kNone, x));
    ASSIGN_OR_RETURN(a,
                     AddNorm(StrCat(layer, "attention.output.LayerNorm"), a));
    ASSIGN_OR_RETURN(ValueId f,
                     AddLinear(StrCat(layer, "intermediate.dense"), a,
                               config_.intermediate, config_.activation));
    ASSIGN_OR_RETURN(f, AddLinear(StrCat(layer, "output.dense"), f,
                                  config_.hidden, Activation::kNone, a));
    return AddNorm(StrCat(layer, "output.LayerNorm"), f);
  }

  const BertConfig& config_;
  std::string prefix_;
  const TensorSource& tensors_;
  Graph graph_;
};

absl::StatusOr<PoolingMode> ParsePooling(const ConfigFiles& configs,
                                         const std::string& file,
                                         size_t hidden) {
  static constexpr std::array<std::pair<std::string_view, PoolingMode>, 7>
      kModes = {{
          {"pooling_mode_mean_tokens", PoolingMode::kMean},
          {"pooling_mode_cls_token", PoolingMode::kCls},
          {"pooling_mode_max_tokens", PoolingMode::kMax},
          {"pooling_mode_mean_sqrt_len_tokens", PoolingMode::kNone},
          {"pooling_mode_weightedmean_tokens", PoolingMode::kNone},
          {"pooling_mode_lasttoken", PoolingMode::kNone},
          {"pooling_mode_first_last_avg", PoolingMode::kNone},
      }};
  ASSIGN_OR_RETURN(const JsonFields json, JsonFields::Parse(configs, file));
  if (json.Has("word_embedding_dimension")) {
    ASSIGN_OR_RETURN(const size_t width,
                     json.Size("word_embedding_dimension", 1, kMaxWidth));
    if (width != hidden) {
      return json.Error("word_embedding_dimension", StrCat("is ", width,
                                                           "; config.json's "
                                                           "'hidden_size' is ",
                                                           hidden));
    }
  }
  std::string_view chosen;
  PoolingMode mode = PoolingMode::kNone;
  for (const auto& [field, field_mode] : kModes) {
    ASSIGN_OR_RETURN(const bool set, json.Flag(field, false));
    if (!set) continue;
    if (field_mode == PoolingMode::kNone) {
      return absl::UnimplementedError(
          StrCat(file, ": '", field,
                 "' is true; known are mean, cls and max pooling"));
    }
    if (!chosen.empty()) {
      return absl::UnimplementedError(
          StrCat(file, ": '", chosen, "' and '", field,
                 "' are both true; one pooling mode is supported"));
    }
    chosen = field;
    mode = field_mode;
  }
  if (chosen.empty()) {
    return json.Error("pooling_mode_*", "are all false; one must be true");
  }
  return mode;
}

// "sentence_transformers.models.Pooling" -> "Pooling"
std::string_view LastPart(std::string_view dotted) {
  const size_t dot = dotted.rfind('.');
  return dot == std::string_view::npos ? dotted : dotted.substr(dot + 1);
}

absl::Status AddModule(const ConfigFiles& configs, const JsonFields& module,
                       Graph& graph) {
  ASSIGN_OR_RETURN(const std::string type, module.Text("type"));
  const std::string_view kind = LastPart(type);
  if (kind == "Transformer") return absl::OkStatus();
  const ValueId input = *graph.output;
  const size_t width = graph.widths[input];
  if (kind == "Pooling") {
    if (graph.output != graph.hidden) {
      return module.Error(
          "type",
          "is Pooling, which must be the first module after Transformer");
    }
    ASSIGN_OR_RETURN(const std::string path, module.Text("path"));
    ASSIGN_OR_RETURN(
        const PoolingMode mode,
        ParsePooling(configs, StrCat(path, "/config.json"), width));
    graph.operators.emplace_back(Pooling{mode, input, graph.widths.size()});
  } else if (kind == "Normalize") {
    graph.operators.emplace_back(Normalize{input, graph.widths.size()});
  } else {
    return absl::UnimplementedError(
        StrCat("modules.json: no importer for a module of type '",
               type.substr(0, 80), "'"));
  }
  graph.output = graph.widths.size();
  graph.widths.push_back(width);
  return absl::OkStatus();
}

absl::Status AddModules(const ConfigFiles& configs, Graph& graph) {
  static constexpr std::string_view kFile = "modules.json";
  if (!configs.contains(std::string(kFile))) return absl::OkStatus();
  ASSIGN_OR_RETURN(const nlohmann::json modules, ParseJson(configs, kFile));
  if (!modules.is_array()) {
    return absl::InvalidArgumentError(
        "modules.json: must be an array of modules");
  }
  constexpr size_t kMaxModules = 16;
  if (modules.size() > kMaxModules) {
    return absl::InvalidArgumentError(
        StrCat("modules.json: has ", modules.size(), " modules; at most ",
               kMaxModules, " are accepted"));
  }
  for (size_t i = 0; i < modules.size(); ++i) {
    if (!modules[i].is_object()) {
      return absl::InvalidArgumentError(
          StrCat("modules.json: module ", i, " is not an object"));
    }
    RETURN_IF_ERROR(AddModule(
        configs, JsonFields(StrCat("modules.json[", i, "]"), modules[i]),
        graph));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Graph> ImportBert(const ConfigFiles& configs,
                                 const TensorSource& tensors) {
  ASSIGN_OR_RETURN(const BertConfig config, ParseConfig(configs));
  ASSIGN_OR_RETURN(std::string prefix, FindPrefix(tensors));
  ASSIGN_OR_RETURN(Graph graph,
                   BertBuilder(config, std::move(prefix), tensors).Build());
  RETURN_IF_ERROR(AddModules(configs, graph));
  return graph;
}

}  // namespace octet::model
