// Changes to a graph before it runs, each with a name and a test that compares
// outputs before and after.

#ifndef OCTET_SERVER_MODEL_GRAPH_PASSES_H_
#define OCTET_SERVER_MODEL_GRAPH_PASSES_H_

#include "server/model/graph.h"
#include "server/model/scheme.h"
#include "server/model/tensor.h"

namespace octet::model {

// Attention whose q, k and v all come out of INT8 linears multiplies in BF16:
// its rounding is far below that of the codes before and after. A model with
// any of the three in float keeps FP32.
void UseBf16Attention(Graph& graph, const Plan& plan);

// Query, key and value linears become one, with the columns of all three, where
// they have the same INT8 scheme, transforms and static scale: the input is
// quantized once. Float ones stay apart: there is nothing to save.
void FuseQkv(Graph& graph, const Plan& plan, const TensorSource& tensors);

// A norm writes codes beside floats where a linear of w8a8_dynamic or
// w8a8_static reads it. All linears of w8a8_dynamic that neither smooth nor
// rotate take the same codes; where there are none, the codes are those of one
// linear, with its static scale, smoothing and rotation. llm_int8 needs the
// floats. They stay, for the residual of post-norm encoders reads them too.
void FuseNormQuantize(Graph& graph, const Plan& plan);

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_GRAPH_PASSES_H_
