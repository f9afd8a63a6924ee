#include "server/bundle/bundle.h"

#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernels/status_macros.h"
#include "server/bundle/atomic_file.h"
#include "server/bundle/compressed_tensors_import.h"
#include "server/bundle/directory_store.h"
#include "server/bundle/io.h"
#include "server/bundle/json.h"
#include "server/bundle/safetensors.h"
#include "server/bundle/sha256.h"
#include "server/model/str_cat.h"

namespace octet::bundle {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kManifest = "octet.json";
constexpr uint64_t kMaxManifestBytes = uint64_t{64} << 20;
// Labels of 20,000 classes, by number and by name, take 2 MiB.
constexpr uint64_t kMaxConfigBytes = uint64_t{8} << 20;  // all configs
constexpr size_t kMaxConfigs = 64;

absl::Status CheckFile(const fs::path& directory, const std::string& path,
                       const FileDigest& expected, Verify verify) {
  uint64_t size = 0;
  const absl::StatusOr<FileDescriptor> fd =
      OpenRegularFile(directory / path, &size);
  if (!fd.ok()) {
    return absl::DataLossError(model::StrCat(
        "the bundle's file ", Quoted(path),
        " can not be read: ", std::string(fd.status().message())));
  }
  if (size != expected.size_bytes) {
    return absl::DataLossError(
        model::StrCat("the bundle's file ", Quoted(path), " has ", size,
                      " bytes; octet.json says ", expected.size_bytes));
  }
  if (verify == Verify::kSizes) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string actual, Sha256OfFile(directory / path));
  if (actual == expected.sha256) return absl::OkStatus();
  return absl::DataLossError(
      model::StrCat("the bundle's file ", Quoted(path), " has SHA-256 ", actual,
                    "; octet.json says ", expected.sha256));
}

// The directory holds the files octet.json lists, and no others.
absl::Status CheckFiles(const fs::path& directory, const Manifest& manifest,
                        Verify verify) {
  for (const auto& [path, digest] : manifest.files) {
    RETURN_IF_ERROR(CheckFile(directory, path, digest, verify));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> present,
                   ListFiles(directory));
  for (const std::string& path : present) {
    if (path != kManifest && !manifest.files.contains(path)) {
      return absl::DataLossError(model::StrCat(
          "the bundle's file ", Quoted(path), " is not in octet.json"));
    }
  }
  return absl::OkStatus();
}

// What importers read; the rest (a tokenizer.json, say) is not looked at.
bool IsConfig(std::string_view path) {
  return path == "modules.json" || path == "config.json" ||
         path.ends_with("/config.json");
}

// A directory where a bundle of the checkpoint would have a file.
absl::Status CheckDirectories(const fs::path& checkpoint) {
  ASSIGN_OR_RETURN(const std::vector<std::string> paths, ListFiles(checkpoint));
  for (const std::string& path : paths) {
    const size_t slash = path.find('/');
    if (slash == path.npos || !IsBundleFile(path.substr(0, slash))) continue;
    return absl::InvalidArgumentError(
        model::StrCat(Quoted(path), " is in a directory that is called like a ",
                      "file of a bundle; give it another name"));
  }
  return absl::OkStatus();
}

// Adds the file, and its length to `bytes`.
absl::Status ReadConfig(const fs::path& directory, const std::string& path,
                        uint64_t& bytes, model::ConfigFiles& configs) {
  if (configs.size() == kMaxConfigs) {
    return absl::InvalidArgumentError(model::StrCat(
        "the checkpoint has more than ", kMaxConfigs, " config.json files"));
  }
  absl::StatusOr<std::string> text =
      ReadSmallFile(directory / path, kMaxConfigBytes - bytes);
  if (absl::IsResourceExhausted(text.status())) {
    return absl::InvalidArgumentError(
        model::StrCat(Quoted(path), " is too long: the configs of a model may ",
                      "have ", kMaxConfigBytes, " bytes in all"));
  }
  RETURN_IF_ERROR(text.status());
  RETURN_IF_ERROR(CheckJson(path, *text));
  bytes += text->size();
  configs[path] = *std::move(text);
  return absl::OkStatus();
}

}  // namespace

bool IsBundleFile(std::string_view path) {
  return path == kManifest || path == "config.json" ||
         path == "model.safetensors.index.json" ||
         (path.ends_with(".safetensors") && path.find('/') == path.npos);
}

absl::StatusOr<ModelFiles> OpenModelFiles(const fs::path& directory) {
  ModelFiles files;
  ASSIGN_OR_RETURN(const std::vector<std::string> paths, ListFiles(directory));
  uint64_t bytes = 0;
  for (const std::string& path : paths) {
    if (!IsConfig(path)) continue;
    RETURN_IF_ERROR(ReadConfig(directory, path, bytes, files.configs));
  }
  ASSIGN_OR_RETURN(files.tensors, OpenSafetensors(directory));
  return files;
}

absl::StatusOr<ModelFiles> OpenCheckpoint(const fs::path& directory) {
  RETURN_IF_ERROR(CheckDirectories(directory));
  ASSIGN_OR_RETURN(ModelFiles files, OpenModelFiles(directory));
  const auto config = files.configs.find("config.json");
  if (config == files.configs.end() || !IsQuantizedConfig(config->second)) {
    return files;
  }
  ASSIGN_OR_RETURN(
      QuantizedCheckpoint quantized,
      ImportCompressedTensors(config->second, std::move(files.tensors)));
  files.tensors = std::move(quantized.tensors);
  files.plan = std::move(quantized.plan);
  return files;
}

absl::StatusOr<Bundle> OpenBundle(const fs::path& directory, Verify verify) {
  absl::StatusOr<std::string> text =
      ReadSmallFile(directory / kManifest, kMaxManifestBytes);
  if (absl::IsNotFound(text.status())) {
    return absl::InvalidArgumentError("the bundle has no octet.json");
  }
  RETURN_IF_ERROR(text.status());
  Bundle bundle;
  ASSIGN_OR_RETURN(bundle.manifest, ParseManifest(*text));
  RETURN_IF_ERROR(CheckFiles(directory, bundle.manifest, verify));
  ASSIGN_OR_RETURN(bundle.files, OpenModelFiles(directory));
  return bundle;
}

absl::StatusOr<std::unique_ptr<const model::Model>> LoadModel(
    const Bundle& bundle, const model::LinearOptions& options) {
  ASSIGN_OR_RETURN(model::Graph graph,
                   model::Import(bundle.files.configs, *bundle.files.tensors));
  if (graph.family != bundle.manifest.family) {
    return absl::InvalidArgumentError(
        model::StrCat("octet.json: family: ", Quoted(bundle.manifest.family),
                      "; config.json describes ", Quoted(graph.family)));
  }
  std::set<std::string_view> layers;
  for (const model::Linear* linear : graph.Linears()) {
    layers.insert(linear->layer);
  }
  for (const auto& [layer, scheme] : bundle.manifest.plan) {
    if (!layers.contains(layer)) {
      return absl::InvalidArgumentError(model::StrCat(
          "octet.json: plan: the model has no linear ", Quoted(layer)));
    }
  }
  return model::Model::Create(std::move(graph), *bundle.files.tensors,
                              bundle.manifest.plan, options);
}

absl::StatusOr<std::unique_ptr<const model::Model>> LoadFloatModel(
    const ModelFiles& files, const model::LinearOptions& options) {
  ASSIGN_OR_RETURN(model::Graph graph,
                   model::Import(files.configs, *files.tensors));
  model::Plan plan;  // without what the graph leaves out (a pooler, say)
  for (const model::Linear* linear : graph.Linears()) {
    const auto planned = files.plan.find(linear->layer);
    if (planned != files.plan.end()) plan.insert(*planned);
  }
  return model::Model::Create(std::move(graph), *files.tensors, plan, options);
}

absl::Status WriteManifest(const fs::path& directory, Manifest manifest) {
  // A crash in an earlier attempt must not become a file of the bundle.
  std::error_code error;
  fs::remove(AsideOf(directory / kManifest), error);
  ASSIGN_OR_RETURN(const std::vector<std::string> paths, ListFiles(directory));
  manifest.files.clear();
  for (const std::string& path : paths) {
    if (path == kManifest) continue;
    RETURN_IF_ERROR(ValidateRelativePath("bundle", path));
    FileDigest digest;
    digest.size_bytes = fs::file_size(directory / path, error);
    ASSIGN_OR_RETURN(digest.sha256, Sha256OfFile(directory / path));
    manifest.files.emplace(path, std::move(digest));
  }
  RETURN_IF_ERROR(WriteFileAtomically(directory / kManifest, ToJson(manifest)));
  return SyncTree(directory);
}

}  // namespace octet::bundle
