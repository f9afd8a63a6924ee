#include "server/serving/model_reader.h"

#include <cstddef>
#include <filesystem>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/serving/describe_model.h"
#include "server/serving/drift.h"
#include "server/serving/warm_up.h"
#include "spdlog/spdlog.h"

namespace octet::serving {
namespace {

using model::StrCat;

constexpr std::string_view kBundles = "bundles/";
constexpr std::string_view kCheckpoints = "checkpoints/";

// What a comparison of answers needs of two models.
bool AnswerAlike(const model::Graph& a, const model::Graph& b) {
  return a.family == b.family && a.input == b.input &&
         a.vocabulary == b.vocabulary && a.input_width == b.input_width &&
         a.Linears().size() == b.Linears().size();
}

// One line for all layers of a model that did not get the backend that was
// asked for, when it goes out of scope.
class Fallbacks {
 public:
  Fallbacks(std::string_view source, kernels::Int8Backend backend)
      : source_(source), options_{.int8_backend = backend} {
    options_.on_fallback = [this](std::string_view layer,
                                  const absl::Status& why) {
      if (count_++ > 0) return;
      first_ = layer;
      why_ = std::string(why.message());
    };
  }
  ~Fallbacks() {
    if (count_ == 0) return;
    spdlog::warn(
        "{}: --int8-backend=onednn has no effect on {} products, which Octet's "
        "own kernels compute; the first, '{}': {}",
        source_, count_, first_, why_);
  }
  Fallbacks(const Fallbacks&) = delete;
  Fallbacks& operator=(const Fallbacks&) = delete;

  const model::LinearOptions& options() const { return options_; }

 private:
  const std::string source_;
  model::LinearOptions options_;
  size_t count_ = 0;
  std::string first_;
  std::string why_;
};

absl::StatusOr<PreparedModel> ReadBundle(const std::filesystem::path& directory,
                                         bundle::Verify verify,
                                         const model::LinearOptions& options) {
  PreparedModel loaded;
  ASSIGN_OR_RETURN(const bundle::Bundle opened,
                   bundle::OpenBundle(directory, verify));
  ASSIGN_OR_RETURN(loaded.model, bundle::LoadModel(opened, options));
  loaded.description = Describe(*loaded.model, *opened.files.tensors);
  loaded.watch.limits = LimitsOf(opened);
  loaded.checkpoint = opened.manifest.provenance.checkpoint;
  return loaded;
}

absl::StatusOr<PreparedModel> ReadCheckpoint(
    const std::filesystem::path& directory,
    const model::LinearOptions& options) {
  PreparedModel loaded;
  ASSIGN_OR_RETURN(const bundle::ModelFiles opened,
                   bundle::OpenCheckpoint(directory));
  ASSIGN_OR_RETURN(loaded.model, bundle::LoadFloatModel(opened, options));
  loaded.description = Describe(*loaded.model, *opened.tensors);
  return loaded;
}

absl::StatusOr<std::unique_ptr<const model::Model>> ReadReference(
    const std::filesystem::path& directory) {
  ASSIGN_OR_RETURN(const bundle::ModelFiles files,
                   bundle::OpenCheckpoint(directory));
  return bundle::LoadFloatModel(files);
}

}  // namespace

ModelReader::ModelReader(const bundle::DirectoryStore* checkpoints,
                         const bundle::DirectoryStore* bundles)
    : checkpoints_(checkpoints), bundles_(bundles) {}

absl::StatusOr<PreparedModel> ModelReader::Read(std::string_view source,
                                                bundle::Verify verify) const {
  const absl::Time start = absl::Now();
  const Fallbacks fallbacks(source, int8_backend_);
  const bool is_bundle = source.starts_with(kBundles);
  if (!is_bundle && !source.starts_with(kCheckpoints)) {
    return absl::InvalidArgumentError(
        "source: '" + std::string(source) +
        "' is neither 'bundles/{id}' nor 'checkpoints/{id}'");
  }
  const bundle::DirectoryStore& store = is_bundle ? *bundles_ : *checkpoints_;
  const std::string_view id =
      source.substr(is_bundle ? kBundles.size() : kCheckpoints.size());
  ASSIGN_OR_RETURN(const std::filesystem::path directory, store.Find(id));
  absl::StatusOr<PreparedModel> loaded =
      is_bundle ? ReadBundle(directory, verify, fallbacks.options())
                : ReadCheckpoint(directory, fallbacks.options());
  if (!loaded.ok()) return store.WhyUnreadable(id, loaded.status());
  RETURN_IF_ERROR(WarmUp(*loaded->model));
  loaded->description.load_seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return loaded;
}

absl::Status ModelReader::AddReference(double shadow_rate,
                                       PreparedModel& loaded) const {
  if (shadow_rate == 0) return absl::OkStatus();
  std::string_view name = loaded.checkpoint;
  if (!name.starts_with(kCheckpoints)) {
    return absl::FailedPreconditionError(
        "shadow_rate: only a bundle that was quantized from a checkpoint has a "
        "float reference");
  }
  name.remove_prefix(kCheckpoints.size());
  const auto directory = checkpoints_->Find(name);
  if (!directory.ok()) {
    return absl::FailedPreconditionError(
        StrCat("shadow_rate: the bundle was made from '", loaded.checkpoint,
               "', which is needed in float: ", directory.status().message()));
  }
  auto reference = ReadReference(*directory);
  if (!reference.ok()) {
    return checkpoints_->WhyUnreadable(name, reference.status());
  }
  loaded.watch.reference = *std::move(reference);
  if (!AnswerAlike(loaded.model->graph(), loaded.watch.reference->graph())) {
    return absl::FailedPreconditionError(
        StrCat("shadow_rate: '", loaded.checkpoint,
               "' is not the checkpoint that the bundle was made from any "
               "more"));
  }
  loaded.watch.shadow_rate = shadow_rate;
  return absl::OkStatus();
}

}  // namespace octet::serving
