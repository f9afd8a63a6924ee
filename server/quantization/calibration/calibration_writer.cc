// Save: the file that calibration_file.h describes.

#include <deque>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/types/span.h"
#include "kernels/status_macros.h"
#include "server/bundle/atomic_file.h"
#include "server/bundle/json.h"
#include "server/bundle/safetensors.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/calibration.h"
#include "server/quantization/calibration/calibration_file.h"

namespace octet::quantization {
namespace {

using model::StrCat;

absl::Span<const std::byte> Bytes(const void* data, size_t size) {
  return absl::MakeConstSpan(static_cast<const std::byte*>(data), size);
}

// What will be written, in order.
class TensorList {
 public:
  // `values` stay where they are until Write.
  template <typename T>
  void View(std::string name, std::vector<int64_t> shape,
            absl::Span<const T> values) {
    infos_.push_back({std::move(name), CalibrationType<T>(), std::move(shape)});
    data_.push_back(Bytes(values.data(), values.size() * sizeof(T)));
  }

  template <typename T>
  void Copy(std::string name, std::vector<int64_t> shape,
            const std::vector<T>& values) {
    const auto bytes = Bytes(values.data(), values.size() * sizeof(T));
    copies_.emplace_back(bytes.begin(), bytes.end());
    infos_.push_back({std::move(name), CalibrationType<T>(), std::move(shape)});
    data_.emplace_back(copies_.back());
  }

  template <typename T>
  void Copy(std::string name, const std::vector<T>& values) {
    Copy(std::move(name), {static_cast<int64_t>(values.size())}, values);
  }

  absl::Status Write(const std::filesystem::path& path,
                     const bundle::SafetensorsMetadata& metadata) const {
    ASSIGN_OR_RETURN(const std::unique_ptr<bundle::SafetensorsWriter> writer,
                     bundle::SafetensorsWriter::Create(path, infos_, metadata));
    for (size_t i = 0; i < infos_.size(); ++i) {
      RETURN_IF_ERROR(writer->Append(infos_[i].name, data_[i]));
    }
    return writer->Finish();
  }

 private:
  std::vector<bundle::TensorInfo> infos_;
  std::vector<absl::Span<const std::byte>> data_;
  std::deque<std::vector<std::byte>> copies_;
};

std::vector<int64_t> Signed(absl::Span<const uint64_t> values) {
  return {values.begin(), values.end()};
}

template <typename T>
std::vector<T> Joined(std::vector<T> first, const std::vector<T>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

void AddInput(size_t index, const CalibratedInput& input, TensorList& tensors) {
  const LayerStatistics& statistics = input.statistics;
  const Histogram& histogram = statistics.histogram;
  const auto columns = static_cast<int64_t>(statistics.columns());
  const auto name = [&](const char* part) { return StrCat(index, part); };
  tensors.Copy<int64_t>(name(kNumbers),
                        {static_cast<int64_t>(statistics.rows),
                         static_cast<int64_t>(statistics.batches),
                         static_cast<int64_t>(input.named_rows),
                         static_cast<int64_t>(input.rows.capacity()),
                         histogram.exponent(), histogram.first_bin()});
  tensors.Copy<float>(name(kRange), {statistics.min, statistics.max});
  tensors.Copy<double>(name(kBatchSums),
                       {statistics.sum_batch_min, statistics.sum_batch_max});
  tensors.Copy<float>(name(kColumns), {2, columns},
                      Joined(statistics.column_min, statistics.column_max));
  tensors.Copy<double>(
      name(kColumnSums), {2, columns},
      Joined(statistics.column_sum, statistics.column_sum_squares));
  tensors.Copy<int64_t>(name(kHistogram), Signed(histogram.counts()));
  tensors.Copy<int64_t>(name(kRowKeys), Signed(input.rows.keys()));
  const kernels::MatrixView<const float> rows = input.rows.rows();
  tensors.View<float>(name(kRowValues),
                      {static_cast<int64_t>(rows.rows), columns},
                      {rows.data, rows.rows * rows.cols});
}

void AddKept(const SampleReservoir& kept, TensorList& tensors) {
  std::vector<int64_t> keys;
  for (const SampleReservoir::Sample& sample : kept.samples()) {
    keys.push_back(static_cast<int64_t>(sample.key));
  }
  const model::ModelInput batch = kept.AsBatch();
  tensors.Copy(kKeptKeys, keys);
  tensors.Copy(kKeptTokens, batch.token_ids);
  tensors.Copy(kKeptLengths, batch.lengths);
  if (batch.feature_rows == 0) return;
  const auto rows = static_cast<int64_t>(batch.feature_rows);
  tensors.Copy(kKeptFeatures,
               {rows, static_cast<int64_t>(batch.features.size()) / rows},
               batch.features);
}

void AddSketch(const SampleSketch& sketch, TensorList& tensors) {
  std::vector<int64_t> keys;
  std::vector<int32_t> signatures;
  std::vector<int32_t> near;
  for (const SampleSketch::Entry& entry : sketch.entries()) {
    keys.push_back(static_cast<int64_t>(entry.key));
    near.push_back(entry.is_near ? 1 : 0);
    for (size_t lane = 0; lane < kSignatureLanes; lane += 2) {
      signatures.push_back(
          static_cast<int32_t>(uint32_t{entry.signature[lane]} |
                               uint32_t{entry.signature[lane + 1]} << 16));
    }
  }
  const auto count = static_cast<int64_t>(keys.size());
  tensors.Copy(kSketchKeys, keys);
  tensors.Copy(kSketchSignatures, {count, kSignatureLanes / 2}, signatures);
  tensors.Copy(kSketchNear, near);
}

}  // namespace

absl::Status Save(const Calibration& calibration,
                  const std::filesystem::path& file) {
  TensorList tensors;
  nlohmann::json layers = nlohmann::json::array();
  for (const auto& [name, input] : calibration.inputs) {
    AddInput(layers.size(), input, tensors);
    layers.push_back(input.layers);
  }
  AddKept(calibration.kept, tensors);
  AddSketch(calibration.sketch, tensors);
  const bundle::SafetensorsMetadata metadata = {
      {"format", kCalibrationFormat},
      {"checkpoint", calibration.checkpoint},
      {"fingerprint", calibration.fingerprint},
      {"seed", StrCat(calibration.options.seed)},
      {"kept_rows", StrCat(calibration.options.rows)},
      {"kept_samples", StrCat(calibration.options.samples)},
      {"batches", StrCat(calibration.batches)},
      {"samples", StrCat(calibration.samples)},
      {"layers", bundle::JsonText(layers, /*indent=*/-1)},
  };
  const std::filesystem::path aside =
      file.parent_path() / StrCat(".", file.filename().string(), ".tmp");
  RETURN_IF_ERROR(tensors.Write(aside, metadata));
  std::error_code error;
  std::filesystem::rename(aside, file, error);
  if (error) {
    return absl::InternalError(StrCat("calibration file '",
                                      file.filename().string(),
                                      "': ", error.message()));
  }
  return bundle::SyncDirectory(file.parent_path());
}

}  // namespace octet::quantization
