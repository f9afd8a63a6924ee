// One encoder layer of width 64 with two heads, by hand: the smallest whose
// query, key and value can be fused. Linears are "attention.q", ".k", ".v",
// ".out", "up" and "down", INT8, their weights random.

#ifndef OCTET_TESTS_SERVER_MODEL_SMALL_ENCODER_H_
#define OCTET_TESTS_SERVER_MODEL_SMALL_ENCODER_H_

#include <cstddef>
#include <memory>
#include <string>

#include "server/model/graph.h"
#include "server/model/model.h"
#include "server/model/scheme.h"
#include "tests/server/model/memory_tensors.h"

namespace octet::model {

inline constexpr size_t kEncoderVocabulary = 20;

Graph SmallEncoderGraph();
// Fit every INT8 scheme without groups.
MemoryTensors SmallEncoderTensors();
// All linears in one scheme.
Plan SmallEncoderPlan(const LinearScheme& scheme);
std::unique_ptr<const Model> SmallEncoder(const LinearScheme& scheme);

// `sequences` of 1 to 24 tokens.
ModelInput SmallEncoderInput(size_t sequences, uint32_t seed);

}  // namespace octet::model

#endif  // OCTET_TESTS_SERVER_MODEL_SMALL_ENCODER_H_
