// A checkpoint that another tool quantized and saved in the compressed-tensors
// format (LLM Compressor, say), as a plan and tensors of ours: the codes are
// served as they are.
//
//   weights            8-bit int, symmetric; per tensor, per channel, or per
//                      group of 32, 64, 128 or 256 in order
//   input_activations  8-bit int; w8a8_dynamic: per token, dynamic, symmetric
//                      w8a8_static: per tensor, static
//
// Everything else is UNIMPLEMENTED, naming the field: other widths and types,
// asymmetric weights, activation ordering, quantized outputs or caches.
//
// A linear is quantized where its weight is I8; targets matter only to tell
// several groups apart, by name or as "Linear".

#ifndef OCTET_SERVER_BUNDLE_COMPRESSED_TENSORS_IMPORT_H_
#define OCTET_SERVER_BUNDLE_COMPRESSED_TENSORS_IMPORT_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/model/scheme.h"
#include "server/model/tensor.h"

namespace octet::bundle {

struct QuantizedCheckpoint {
  model::Plan plan;  // its INT8 layers
  // Scales as F32 of the shapes a bundle has; everything else as it was.
  std::unique_ptr<model::TensorSource> tensors;
};

// config.json has a `quantization_config`, and not null: some write that of a
// float checkpoint.
bool IsQuantizedConfig(std::string_view config_json);

absl::StatusOr<QuantizedCheckpoint> ImportCompressedTensors(
    std::string_view config_json, std::unique_ptr<model::TensorSource> tensors);

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_COMPRESSED_TENSORS_IMPORT_H_
