// Lowers one checkpoint family (config.json and tensors) into a Graph.
//
// A new family is one file with one function of this type and one line in the
// table in importer.cc.

#ifndef OCTET_SERVER_MODEL_IMPORTER_H_
#define OCTET_SERVER_MODEL_IMPORTER_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "server/model/graph.h"
#include "server/model/tensor.h"

namespace octet::model {

// The small text files of a checkpoint by relative path: "config.json",
// "modules.json", "1_Pooling/config.json". Importers recurse into what they
// hold: its depth was bounded before (server/bundle/json.h).
using ConfigFiles = std::map<std::string, std::string>;

// Chooses the importer by config.json's `model_type` ("bert", "mlp",
// "linear_set"; no config.json means linear_set) and checks that every tensor
// the graph names exists, with the shape the config says. Weights may be float
// or, for a bundle, I8 with a scale. Names accept a common prefix ("bert.").
// Errors: INVALID_ARGUMENT naming file and field, or tensor and shapes;
// UNIMPLEMENTED for a family there is no importer for.
absl::StatusOr<Graph> Import(const ConfigFiles& configs,
                             const TensorSource& tensors);

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_IMPORTER_H_
