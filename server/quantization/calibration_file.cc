// A calibration as one safetensors file. Counters stand in the metadata; a
// layer L has the tensors
//   L/rows I64 [1]   L/range F32 [2]   L/sums F64 [2] (values, squares)
//   L/column_absmax F32 [K]            L/histogram I64 [96]
//   L/kept_rows F32 [rows, K], where activations were observed
// and the calibration itself
//   kept/token_ids I32, kept/lengths I32, kept/features F32 [rows, width],
//   sample_hashes I64

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "kernels/finite.h"
#include "kernels/status_macros.h"
#include "server/bundle/atomic_file.h"
#include "server/bundle/io.h"
#include "server/bundle/safetensors.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration.h"

namespace octet::quantization {
namespace {

using model::DataType;
using model::ModelInput;
using model::StrCat;
using model::TensorView;

constexpr char kFormat[] = "octet-calibration-1";
constexpr uint64_t kMaxFileBytes = uint64_t{4} << 30;
constexpr std::string_view kAbsmaxSuffix = "/column_absmax";
constexpr std::string_view kKeptRowsSuffix = "/kept_rows";
constexpr char kTokenIds[] = "kept/token_ids";
constexpr char kLengths[] = "kept/lengths";
constexpr char kFeatures[] = "kept/features";
constexpr char kHashes[] = "sample_hashes";

template <typename T>
constexpr DataType TypeOf() {
  if constexpr (std::is_same_v<T, float>) return DataType::kF32;
  if constexpr (std::is_same_v<T, double>) return DataType::kF64;
  if constexpr (std::is_same_v<T, int32_t>) return DataType::kI32;
  return DataType::kI64;
}

// What will be written, in order. Bytes are copied: a calibration is small.
class TensorList {
 public:
  template <typename T>
  void Add(std::string name, std::vector<int64_t> shape,
           absl::Span<const T> values) {
    const auto bytes =
        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(values.data()),
                            values.size() * sizeof(T));
    infos_.push_back({std::move(name), TypeOf<T>(), std::move(shape)});
    data_.emplace_back(bytes.begin(), bytes.end());
  }

  template <typename T>
  void AddVector(std::string name, absl::Span<const T> values) {
    Add(std::move(name), {static_cast<int64_t>(values.size())}, values);
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
  std::vector<std::vector<std::byte>> data_;
};

void AddLayer(const std::string& layer, const LayerStatistics& statistics,
              TensorList& tensors) {
  const auto rows = static_cast<int64_t>(statistics.rows);
  const float range[] = {statistics.min, statistics.max};
  const double sums[] = {statistics.sum, statistics.sum_squares};
  const std::vector<int64_t> histogram(statistics.histogram.begin(),
                                       statistics.histogram.end());
  tensors.AddVector<int64_t>(StrCat(layer, "/rows"), {&rows, 1});
  tensors.AddVector<float>(StrCat(layer, "/range"), range);
  tensors.AddVector<double>(StrCat(layer, "/sums"), sums);
  tensors.AddVector<float>(StrCat(layer, kAbsmaxSuffix),
                           statistics.column_absmax);
  tensors.AddVector<int64_t>(StrCat(layer, "/histogram"), histogram);
}

void AddMatrix(std::string name, absl::Span<const float> values, size_t rows,
               TensorList& tensors) {
  const auto height = static_cast<int64_t>(rows);
  tensors.Add<float>(std::move(name),
                     {height, static_cast<int64_t>(values.size()) / height},
                     values);
}

void AddKept(const Calibration& calibration, TensorList& tensors) {
  const ModelInput& kept = calibration.kept_inputs;
  tensors.AddVector<int32_t>(kTokenIds, kept.token_ids);
  tensors.AddVector<int32_t>(kLengths, kept.lengths);
  if (kept.feature_rows > 0) {
    AddMatrix(kFeatures, kept.features, kept.feature_rows, tensors);
  }
  for (const auto& [layer, values] : calibration.kept_rows) {
    const size_t columns = calibration.layers.find(layer)->second.columns();
    AddMatrix(StrCat(layer, kKeptRowsSuffix), values, values.size() / columns,
              tensors);
  }
  const std::vector<int64_t> hashes(calibration.sample_hashes.begin(),
                                    calibration.sample_hashes.end());
  tensors.AddVector<int64_t>(kHashes, hashes);
}

// Reads typed values out of a file that may hold anything.
class Reader {
 public:
  explicit Reader(const bundle::Safetensors& file) : file_(file) {}

  absl::StatusOr<uint64_t> Counter(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    uint64_t value = 0;
    if (found == file_.metadata().end() ||
        !absl::SimpleAtoi(found->second, &value)) {
      return Bad(key, "is missing or not a number");
    }
    return value;
  }

  absl::StatusOr<std::string> Text(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end()) return Bad(key, "is missing");
    return found->second;
  }

  template <typename T>
  absl::StatusOr<std::vector<T>> Values(const std::string& name) const {
    ASSIGN_OR_RETURN(const TensorView tensor, file_.Find(name));
    if (tensor.type != TypeOf<T>()) return Bad(name, "has the wrong type");
    std::vector<T> values(tensor.bytes.size() / sizeof(T));
    if (!values.empty()) {
      std::memcpy(values.data(), tensor.bytes.data(),
                  values.size() * sizeof(T));
    }
    return values;
  }

  template <typename T>
  absl::StatusOr<std::vector<T>> Values(const std::string& name,
                                        size_t count) const {
    ASSIGN_OR_RETURN(std::vector<T> values, Values<T>(name));
    if (values.size() != count) return Bad(name, "has the wrong size");
    return values;
  }

  // A matrix of at most kKeptSamples finite rows.
  absl::StatusOr<std::vector<float>> Rows(const std::string& name,
                                          size_t* columns) const {
    ASSIGN_OR_RETURN(const TensorView tensor, file_.Find(name));
    ASSIGN_OR_RETURN(std::vector<float> values, Values<float>(name));
    if (tensor.shape.size() != 2 || values.empty() ||
        tensor.shape[0] > static_cast<int64_t>(kKeptSamples) ||
        kernels::FirstNonFinite(values).has_value()) {
      return Bad(name, "is not a matrix of kept rows");
    }
    *columns = static_cast<size_t>(tensor.shape[1]);
    return values;
  }

  static absl::Status Bad(const std::string& name, std::string_view problem) {
    return absl::DataLossError(StrCat("'", name, "' ", problem));
  }

 private:
  const bundle::Safetensors& file_;
};

bool IsFinite(absl::Span<const double> values) {
  for (const double value : values) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

bool IsAbsmax(absl::Span<const float> values) {
  for (const float value : values) {
    if (!(value >= 0.0F && value <= std::numeric_limits<float>::max())) {
      return false;
    }
  }
  return true;
}

absl::StatusOr<LayerStatistics> ReadLayer(const Reader& reader,
                                          const std::string& layer) {
  LayerStatistics statistics;
  ASSIGN_OR_RETURN(statistics.column_absmax,
                   reader.Values<float>(StrCat(layer, kAbsmaxSuffix)));
  ASSIGN_OR_RETURN(const std::vector<int64_t> rows,
                   reader.Values<int64_t>(StrCat(layer, "/rows"), 1));
  ASSIGN_OR_RETURN(const std::vector<float> range,
                   reader.Values<float>(StrCat(layer, "/range"), 2));
  ASSIGN_OR_RETURN(const std::vector<double> sums,
                   reader.Values<double>(StrCat(layer, "/sums"), 2));
  ASSIGN_OR_RETURN(
      const std::vector<int64_t> histogram,
      reader.Values<int64_t>(StrCat(layer, "/histogram"), kHistogramBins));
  const bool range_is_sane = range[0] <= 0.0F && range[1] >= 0.0F &&
                             std::isfinite(range[0]) && std::isfinite(range[1]);
  if (statistics.column_absmax.empty() || !IsAbsmax(statistics.column_absmax) ||
      rows[0] < 0 || !range_is_sane || !IsFinite(sums) || sums[1] < 0.0) {
    return Reader::Bad(layer, "has statistics that cannot be");
  }
  statistics.rows = static_cast<uint64_t>(rows[0]);
  statistics.min = range[0];
  statistics.max = range[1];
  statistics.sum = sums[0];
  statistics.sum_squares = sums[1];
  for (size_t bin = 0; bin < kHistogramBins; ++bin) {
    statistics.histogram[bin] = static_cast<uint64_t>(histogram[bin]);
  }
  return statistics;
}

absl::Status ReadKeptTokens(const Reader& reader, ModelInput& kept) {
  ASSIGN_OR_RETURN(kept.token_ids, reader.Values<int32_t>(kTokenIds));
  ASSIGN_OR_RETURN(kept.lengths, reader.Values<int32_t>(kLengths));
  uint64_t tokens = 0;
  for (const int32_t length : kept.lengths) {
    if (length < 1) return Reader::Bad(kLengths, "holds an empty sequence");
    tokens += static_cast<uint64_t>(length);
  }
  if (kept.lengths.size() > kKeptSamples || tokens != kept.token_ids.size()) {
    return Reader::Bad(kLengths, "does not fit the kept tokens");
  }
  return absl::OkStatus();
}

absl::Status ReadLayers(const Reader& reader,
                        const std::vector<std::string>& names,
                        Calibration& calibration) {
  for (const std::string& name : names) {
    if (!name.ends_with(kAbsmaxSuffix)) continue;
    const std::string layer =
        name.substr(0, name.size() - kAbsmaxSuffix.size());
    ASSIGN_OR_RETURN(LayerStatistics statistics, ReadLayer(reader, layer));
    calibration.layers.emplace(layer, std::move(statistics));
  }
  for (const std::string& name : names) {
    if (!name.ends_with(kKeptRowsSuffix)) continue;
    const std::string layer =
        name.substr(0, name.size() - kKeptRowsSuffix.size());
    size_t columns = 0;
    ASSIGN_OR_RETURN(std::vector<float> rows, reader.Rows(name, &columns));
    const auto statistics = calibration.layers.find(layer);
    if (statistics == calibration.layers.end() ||
        statistics->second.columns() != columns) {
      return Reader::Bad(name, "does not fit the layer's statistics");
    }
    calibration.kept_rows.emplace(layer, std::move(rows));
  }
  return absl::OkStatus();
}

absl::StatusOr<Calibration> Parse(const bundle::Safetensors& file) {
  const Reader reader(file);
  ASSIGN_OR_RETURN(const std::string format, reader.Text("format"));
  if (format != kFormat) return Reader::Bad("format", "is unknown");
  Calibration calibration;
  ASSIGN_OR_RETURN(calibration.checkpoint, reader.Text("checkpoint"));
  ASSIGN_OR_RETURN(calibration.batches, reader.Counter("batches"));
  ASSIGN_OR_RETURN(calibration.samples, reader.Counter("samples"));
  ASSIGN_OR_RETURN(calibration.duplicate_samples,
                   reader.Counter("duplicate_samples"));
  RETURN_IF_ERROR(ReadLayers(reader, file.Names(), calibration));
  ModelInput& kept = calibration.kept_inputs;
  RETURN_IF_ERROR(ReadKeptTokens(reader, kept));
  if (file.Contains(kFeatures)) {
    size_t columns = 0;
    ASSIGN_OR_RETURN(kept.features, reader.Rows(kFeatures, &columns));
    kept.feature_rows = kept.features.size() / columns;
  }
  ASSIGN_OR_RETURN(const std::vector<int64_t> hashes,
                   reader.Values<int64_t>(kHashes));
  if (hashes.size() > kRememberedHashes) {
    return Reader::Bad(kHashes, "are too many");
  }
  calibration.sample_hashes.insert(hashes.begin(), hashes.end());
  return calibration;
}

}  // namespace

absl::Status Save(const Calibration& calibration,
                  const std::filesystem::path& file) {
  TensorList tensors;
  for (const auto& [layer, statistics] : calibration.layers) {
    AddLayer(layer, statistics, tensors);
  }
  AddKept(calibration, tensors);
  const bundle::SafetensorsMetadata metadata = {
      {"format", kFormat},
      {"checkpoint", calibration.checkpoint},
      {"batches", StrCat(calibration.batches)},
      {"samples", StrCat(calibration.samples)},
      {"duplicate_samples", StrCat(calibration.duplicate_samples)},
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

absl::StatusOr<Calibration> LoadCalibration(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return absl::NotFoundError(
        StrCat("calibration file '", name, "' does not exist"));
  }
  ASSIGN_OR_RETURN(const std::string bytes,
                   bundle::ReadSmallFile(file, kMaxFileBytes));
  const auto damaged = [&](const absl::Status& status) {
    return absl::DataLossError(
        StrCat("calibration file '", name,
               "' is damaged: ", std::string(status.message())));
  };
  const auto tensors = bundle::Safetensors::Parse(absl::MakeConstSpan(
      reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()));
  if (!tensors.ok()) return damaged(tensors.status());
  absl::StatusOr<Calibration> calibration = Parse(**tensors);
  if (!calibration.ok()) return damaged(calibration.status());
  return calibration;
}

}  // namespace octet::quantization
