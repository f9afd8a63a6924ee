// A bundle directory: model.safetensors, config.json, octet.json and the
// checkpoint's other small files. See docs/bundle-format.md.

#ifndef OCTET_SERVER_BUNDLE_BUNDLE_H_
#define OCTET_SERVER_BUNDLE_BUNDLE_H_

#include <filesystem>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/bundle/manifest.h"
#include "server/model/importer.h"
#include "server/model/model.h"
#include "server/model/tensor.h"

namespace octet::bundle {

// A checkpoint or bundle directory, opened.
struct ModelFiles {
  model::ConfigFiles configs;
  std::unique_ptr<model::TensorSource> tensors;
  // Of a checkpoint that came quantized (compressed_tensors_import.h): its INT8
  // layers. Empty for float ones; a bundle's is in its manifest.
  model::Plan plan;
};

// Whether quantization may write a file of this path into a bundle, whatever
// the checkpoint has.
bool IsBundleFile(std::string_view path);

// Reads modules.json and every config.json below `directory`, checked by
// CheckJson, and maps the tensors. INVALID_ARGUMENT naming the file where the
// configs have more than 8 MiB together.
absl::StatusOr<ModelFiles> OpenModelFiles(
    const std::filesystem::path& directory);

// The same of a checkpoint; one that says to be quantized is taken as it is.
// INVALID_ARGUMENT where a directory has the name of a bundle's file.
absl::StatusOr<ModelFiles> OpenCheckpoint(
    const std::filesystem::path& directory);

struct Bundle {
  Manifest manifest;
  ModelFiles files;
};

enum class Verify { kSizes, kDigests };

// INVALID_ARGUMENT when octet.json is wrong, FAILED_PRECONDITION when it has
// another format version; DATA_LOSS when a file's size or digest is not what
// octet.json says.
absl::StatusOr<Bundle> OpenBundle(const std::filesystem::path& directory,
                                  Verify verify);

// Imports the graph and packs the weights by the bundle's plan.
absl::StatusOr<std::unique_ptr<const model::Model>> LoadModel(
    const Bundle& bundle, const model::LinearOptions& options = {});

// The same for a checkpoint, every linear in FP32 but those that came INT8.
absl::StatusOr<std::unique_ptr<const model::Model>> LoadFloatModel(
    const ModelFiles& files, const model::LinearOptions& options = {});

// Digests every file of `directory`, writes octet.json (its `files` filled in)
// and syncs. Call it last, before the directory is published.
absl::Status WriteManifest(const std::filesystem::path& directory,
                           Manifest manifest);

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_BUNDLE_H_
