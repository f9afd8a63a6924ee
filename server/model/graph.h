// A model as a small operator graph: a list of operators in execution order,
// each reading and writing numbered values. A value is a float matrix with one
// row per token (or per sequence, after pooling), ragged batches concatenated.

#ifndef OCTET_SERVER_MODEL_GRAPH_H_
#define OCTET_SERVER_MODEL_GRAPH_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "kernels/activation.h"
#include "kernels/float_companions.h"

namespace octet::model {

using ValueId = size_t;

// rows[t] = token[id[t]] + position[t - start of its sequence] + type[0]
struct Embedding {
  std::string token_table;     // tensor [vocabulary, width]
  std::string position_table;  // tensor [max positions, width], or empty
  std::string type_table;      // tensor [types, width], row 0; or empty
  ValueId output;
};

// output = activation(input W^T + bias) [+ residual], W [out, in]
struct Linear {
  std::string
      layer;  // "encoder.layer.0.output.dense"; tensors layer + ".weight"
  bool has_bias;
  size_t in_features;
  size_t out_features;
  kernels::Activation activation = kernels::Activation::kNone;
  std::optional<ValueId> residual;
  ValueId input;
  ValueId output;

  struct Part {
    std::string layer;
    size_t out_features;
  };
  // FuseQkv: the layers whose outputs lie side by side in `output`; `layer`
  // names all of them. Empty: the layer itself.
  std::vector<Part> parts;
  // FuseNormQuantize: `input` is a CodedValue (values.h).
  bool takes_codes = false;
};

// output = (x - mean) / sqrt(var + epsilon) * weight + bias, x = input
struct LayerNorm {
  std::string layer;
  float epsilon;
  ValueId input;
  ValueId output;
  // FuseNormQuantize: also the output as a CodedValue (values.h).
  std::optional<ValueId> codes = std::nullopt;
};

// output = softmax(q k^T / sqrt(width / heads)) v, within each sequence; q, k
// and v are `width` columns of their values, which may be the same one.
struct Attention {
  size_t heads;
  ValueId query, key, value;
  ValueId output;
  kernels::AttentionPrecision precision = kernels::AttentionPrecision::kFp32;
  size_t query_column = 0;  // where they begin
  size_t key_column = 0;
  size_t value_column = 0;
};

enum class PoolingMode : uint8_t { kNone, kMean, kCls, kMax };

// One row per sequence.
struct Pooling {
  PoolingMode mode;
  ValueId input;
  ValueId output;
};

// output = x / max(|x|_2, 1e-12)
struct Normalize {
  ValueId input;
  ValueId output;
};

using Operator =
    std::variant<Embedding, Linear, LayerNorm, Attention, Pooling, Normalize>;

enum class InputKind : uint8_t {
  kTokens,    // ragged sequences of token ids
  kFeatures,  // float rows [M, input width]
  kNone,      // linear_set: no whole-model forward
};

struct Graph {
  std::string family;  // "bert", "mlp", "linear_set"
  InputKind input = InputKind::kNone;
  size_t vocabulary = 0;       // kTokens: ids are below this
  size_t max_positions = 0;    // kTokens: longest sequence
  size_t input_width = 0;      // kFeatures: columns; the input is value 0
  std::vector<size_t> widths;  // columns of each value
  std::vector<Operator> operators;
  std::optional<ValueId> hidden;  // per-token output, where there is one
  std::optional<ValueId> output;  // what Forward returns

  // The linears, in execution order. For a linear_set they are all there is,
  // and are never executed as a graph.
  std::vector<const Linear*> Linears() const;
};

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_GRAPH_H_
