// What a model name of the Open Inference Protocol stands for, and what the
// protocol says of it.
//
//   "minilm"                     the whole model
//   "minilm.encoder.layer.0..."  one of its linears, x -> y: what comes after
//                                the first dot is the layer, since a served id
//                                has no dots

#ifndef OCTET_SERVER_RPC_OIP_MODEL_H_
#define OCTET_SERVER_RPC_OIP_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "inference/grpc_service.pb.h"
#include "server/model/graph.h"
#include "server/serving/loaded_model.h"
#include "server/serving/model_registry.h"
#include "server/serving/scheduler.h"

namespace octet::rpc::oip {

// Names of the tensors.
inline constexpr std::string_view kInputIds = "input_ids";
inline constexpr std::string_view kAttentionMask = "attention_mask";
inline constexpr std::string_view kTokenTypeIds = "token_type_ids";
inline constexpr std::string_view kHiddenState = "last_hidden_state";
inline constexpr std::string_view kEmbedding = "sentence_embedding";
inline constexpr std::string_view kX = "x";
inline constexpr std::string_view kY = "y";

// Rows or sequences of one request. A limit that clients can ask for; that of
// the message's size is the one which is met in practice.
inline constexpr int64_t kMaxBatch = 1 << 16;

struct Served {
  std::shared_ptr<const serving::LoadedModel> model;
  std::string layer;  // empty: the whole model

  const model::Graph& graph() const { return model->model().graph(); }
  std::string name() const;     // as a request says it
  std::string version() const;  // "3"
};

enum class Purpose : uint8_t {
  kUse,       // without a version, one is drawn by traffic shares
  kAsk,       // whether kUse finds one, drawing nothing
  kDescribe,  // without a version, the one with the largest share
};

// Errors: NOT_FOUND (model, layer, version), INVALID_ARGUMENT (a version that
// is no number), FAILED_PRECONDITION (could not be loaded after a restart).
absl::StatusOr<Served> Resolve(const serving::ModelRegistry& models,
                               std::string_view name, std::string_view version,
                               Purpose purpose);

// Versions of the model that take requests.
std::vector<Served> AllVersions(const serving::ModelRegistry& models,
                                const Served& served);

struct TensorSpec {
  std::string_view name;
  std::string_view datatype;
  std::vector<int64_t> shape;  // the batch first; -1 for what varies
  bool optional = false;
};

// nullptr when there is none of that name.
const TensorSpec* FindSpec(const std::vector<TensorSpec>& specs,
                           std::string_view name);
// "x, y", for a message.
std::string Names(const std::vector<TensorSpec>& specs);

// Nothing, for a linear_set as a whole.
std::vector<TensorSpec> InputsOf(const Served& served);
std::vector<TensorSpec> OutputsOf(const Served& served);

// `versions` of the same name.
void FillMetadata(const Served& served, const std::vector<Served>& versions,
                  inference::ModelMetadataResponse* response);
void FillConfig(const Served& served,
                const serving::SchedulerOptions& scheduler,
                inference::ModelConfig* config);

}  // namespace octet::rpc::oip

#endif  // OCTET_SERVER_RPC_OIP_MODEL_H_
