// How a checkpoint calls the parameters of a layer norm: "weight" and "bias",
// or "gamma" and "beta" where it came from TensorFlow (bert-base-uncased).

#ifndef OCTET_SERVER_MODEL_LAYER_NORM_NAMES_H_
#define OCTET_SERVER_MODEL_LAYER_NORM_NAMES_H_

#include <string>
#include <string_view>

#include "server/model/str_cat.h"
#include "server/model/tensor.h"

namespace octet::model {

struct LayerNormNames {
  std::string weight;
  std::string bias;
};

inline LayerNormNames FindLayerNormNames(const TensorSource& tensors,
                                         std::string_view layer) {
  const std::string gamma = StrCat(layer, ".gamma");
  if (tensors.Contains(gamma)) return {gamma, StrCat(layer, ".beta")};
  return {StrCat(layer, ".weight"), StrCat(layer, ".bias")};
}

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_LAYER_NORM_NAMES_H_
