#include "tests/server/serving/model_files.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "absl/types/span.h"
#include "kernels/half.h"
#include "kernels/status_macros.h"
#include "server/bundle/bundle.h"
#include "server/bundle/manifest.h"
#include "server/bundle/safetensors.h"
#include "server/model/scheme.h"

namespace octet::serving {
namespace {

namespace fs = std::filesystem;
using bundle::TensorInfo;
using model::DataType;

constexpr char kConfig[] =
    R"({"model_type": "mlp", "layers": ["fc1", "fc2"], "hidden_act": "relu"})";

void WriteText(const fs::path& file, const std::string& text) {
  std::ofstream(file) << text;
}

template <typename T>
absl::Span<const std::byte> Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const std::byte*>(values.data()),
          values.size() * sizeof(T)};
}

// Writes `infos` whose data are `data`, in this order.
void WriteTensors(const fs::path& directory, std::vector<TensorInfo> infos,
                  const std::vector<absl::Span<const std::byte>>& data) {
  auto writer = bundle::SafetensorsWriter::Create(
      directory / "model.safetensors", infos, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (size_t i = 0; i < infos.size(); ++i) {
    ASSERT_EQ((*writer)->Append(infos[i].name, data[i]), absl::OkStatus());
  }
  ASSERT_EQ((*writer)->Finish(), absl::OkStatus());
}

fs::path FreshDirectory() {
  std::string name = (fs::temp_directory_path() / "octet-XXXXXX").string();
  EXPECT_NE(mkdtemp(name.data()), nullptr);
  return name;
}

bundle::DirectoryStore OpenStore(const fs::path& root, const char* kind) {
  auto store = bundle::DirectoryStore::Open(root, kind);
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
}

template <typename Write>
void Publish(const bundle::DirectoryStore& store, const std::string& id,
             Write write) {
  const auto staged = store.Stage(id);
  ASSERT_TRUE(staged.ok()) << staged.status();
  write(*staged);
  ASSERT_EQ(store.Publish(id), absl::OkStatus());
}

}  // namespace

void WriteCheckpoint(const fs::path& directory, float weight) {
  WriteText(directory / "config.json", kConfig);
  const std::vector<float> fc1 = {1, 0, 0, 1, 1, 1};
  const std::vector<float> bias = {0.5F};
  const std::vector<float> fc2 = {weight, weight, weight};
  WriteTensors(directory,
               {{"fc1.weight", DataType::kF32, {3, 2}},
                {"fc2.bias", DataType::kF32, {1}},
                {"fc2.weight", DataType::kF32, {1, 3}}},
               {Bytes(fc1), Bytes(bias), Bytes(fc2)});
}

void WriteBundle(const fs::path& directory, float weight) {
  WriteText(directory / "config.json", kConfig);
  const std::vector<int8_t> fc1 = {127, 0, 0, 127, 127, 127};
  const std::vector<float> scales(3, 1.0F / 127);
  const std::vector<float> bias = {0.5F};
  const std::vector<uint16_t> fc2(3, kernels::FloatToFp16(weight));
  WriteTensors(directory,
               {{"fc1.weight", DataType::kI8, {3, 2}},
                {"fc1.weight_scale", DataType::kF32, {3, 1}},
                {"fc2.bias", DataType::kF32, {1}},
                {"fc2.weight", DataType::kF16, {1, 3}}},
               {Bytes(fc1), Bytes(scales), Bytes(bias), Bytes(fc2)});
  bundle::Manifest manifest;
  manifest.family = "mlp";
  manifest.plan["fc1"].scheme = model::Scheme::kW8A8Dynamic;
  manifest.plan["fc2"].scheme = model::Scheme::kFp16;
  manifest.statistics["fc1"] = {
      .rows = 100, .min = -4, .max = 3, .absmax = 4, .sigma = 1};
  manifest.provenance.checkpoint = "checkpoints/c";
  manifest.provenance.create_time = "2024-01-01T00:00:00Z";
  ASSERT_EQ(bundle::WriteManifest(directory, manifest), absl::OkStatus());
}

RegistryTest::RegistryTest()
    : root_(FreshDirectory()),
      checkpoints_(OpenStore(root_ / "checkpoints", "checkpoint")),
      bundles_(OpenStore(root_ / "bundles", "bundle")),
      state_file_(root_ / "models.json") {}

RegistryTest::~RegistryTest() { fs::remove_all(root_); }

void RegistryTest::AddCheckpoint(const std::string& id, float weight) {
  Publish(checkpoints_, id,
          [&](const fs::path& path) { WriteCheckpoint(path, weight); });
}

void RegistryTest::AddBundle(const std::string& id, float weight) {
  Publish(bundles_, id,
          [&](const fs::path& path) { WriteBundle(path, weight); });
}

std::unique_ptr<ModelRegistry> RegistryTest::NewRegistry(
    telemetry::Metrics* metrics) const {
  return std::make_unique<ModelRegistry>(&checkpoints_, &bundles_, state_file_,
                                         metrics);
}

FetchedRows Rows(const float* data, size_t rows, size_t cols) {
  return {.rows = rows,
          .cols = cols,
          .fetch = [data, cols](size_t first, size_t count, float* to) {
            std::copy_n(data + first * cols, count * cols, to);
            return absl::OkStatus();
          }};
}

absl::StatusOr<model::ModelOutput> Forward(const LoadedModel& model,
                                           const model::ModelInput& input) {
  auto output = model::ModelOutput::Uninitialized(input.rows(), 1);
  const kernels::MatrixView<float> rows = output.view();
  kernels::PhaseTimes times;
  RETURN_IF_ERROR(model.ForwardBatch(input, 1, {}, {&rows, 1}, &times));
  return output;
}

float Answer(const LoadedModel& model, float a, float b) {
  model::ModelInput input;
  input.features = {a, b};
  input.feature_rows = 1;
  const auto output = Forward(model, input);
  EXPECT_TRUE(output.ok()) << output.status();
  return output.ok() && output->values.size() == 1 ? output->values[0] : -1;
}

}  // namespace octet::serving
