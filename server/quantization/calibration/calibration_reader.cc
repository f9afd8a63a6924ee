// LoadCalibration: reads the file that calibration_file.h describes, which may
// hold anything.

#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/types/span.h"
#include "kernels/finite.h"
#include "kernels/status_macros.h"
#include "server/bundle/json.h"
#include "server/bundle/safetensors.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/calibration.h"
#include "server/quantization/calibration/calibration_file.h"

namespace octet::quantization {
namespace {

using model::StrCat;
using model::TensorView;

absl::Status Bad(std::string_view name, std::string_view problem) {
  return absl::DataLossError(StrCat("'", name, "' ", problem));
}

absl::Status Bad(std::string_view name, const absl::Status& status) {
  return Bad(name, StrCat("holds ", std::string(status.message())));
}

// Typed values of the file.
class Reader {
 public:
  explicit Reader(const bundle::Safetensors& file) : file_(file) {}

  absl::StatusOr<std::string> Text(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end()) return Bad(key, "is missing");
    return found->second;
  }

  absl::StatusOr<uint64_t> Counter(const std::string& key) const {
    ASSIGN_OR_RETURN(const std::string text, Text(key));
    uint64_t value = 0;
    if (!absl::SimpleAtoi(text, &value)) return Bad(key, "is not a number");
    return value;
  }

  bool Contains(const std::string& name) const { return file_.Contains(name); }

  template <typename T>
  absl::StatusOr<std::vector<T>> Values(const std::string& name) const {
    ASSIGN_OR_RETURN(const TensorView tensor, file_.Find(name));
    if (tensor.type != CalibrationType<T>()) {
      return Bad(name, "has the wrong type");
    }
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

  absl::StatusOr<std::vector<float>> Finite(const std::string& name) const {
    ASSIGN_OR_RETURN(std::vector<float> values, Values<float>(name));
    if (kernels::FirstNonFinite(values).has_value()) {
      return Bad(name, "holds NaN or infinity");
    }
    return values;
  }

  absl::StatusOr<std::vector<float>> Finite(const std::string& name,
                                            size_t count) const {
    ASSIGN_OR_RETURN(std::vector<float> values, Finite(name));
    if (values.size() != count) return Bad(name, "has the wrong size");
    return values;
  }

  absl::StatusOr<std::vector<uint64_t>> Keys(const std::string& name) const {
    ASSIGN_OR_RETURN(const std::vector<int64_t> values, Values<int64_t>(name));
    return std::vector<uint64_t>(values.begin(), values.end());
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

// The two rows of a [2, K] tensor.
template <typename T>
void Split(const std::vector<T>& both, std::vector<T>& first,
           std::vector<T>& second) {
  const size_t columns = both.size() / 2;
  first.assign(both.begin(), both.begin() + columns);
  second.assign(both.begin() + columns, both.end());
}

struct InputNumbers {
  uint64_t rows, batches, named_rows, capacity;
  int64_t exponent, first_bin;
};

absl::StatusOr<InputNumbers> ReadNumbers(const Reader& reader,
                                         const std::string& name) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> values,
                   reader.Values<int64_t>(name, 6));
  for (size_t i = 0; i < 4; ++i) {
    if (values[i] < 0) return Bad(name, "holds a negative count");
  }
  constexpr int64_t kExponents = 1000;  // far beyond FP32
  if (std::abs(values[4]) > kExponents ||
      values[3] > static_cast<int64_t>(kMaxKeptRows)) {
    return Bad(name, "holds numbers that cannot be");
  }
  return InputNumbers{.rows = static_cast<uint64_t>(values[0]),
                      .batches = static_cast<uint64_t>(values[1]),
                      .named_rows = static_cast<uint64_t>(values[2]),
                      .capacity = static_cast<uint64_t>(values[3]),
                      .exponent = values[4],
                      .first_bin = values[5]};
}

absl::Status CheckStatistics(const std::string& name,
                             const LayerStatistics& statistics) {
  bool is_sane =
      statistics.min <= 0.0F && statistics.max >= 0.0F &&
      statistics.rows >= 1 && statistics.batches >= 1 &&
      std::isfinite(statistics.sum_batch_min) &&
      std::isfinite(statistics.sum_batch_max) &&
      IsFinite(statistics.column_sum) &&
      IsFinite(statistics.column_sum_squares) &&
      statistics.histogram.total() == statistics.rows * statistics.columns();
  for (size_t c = 0; c < statistics.columns(); ++c) {
    is_sane = is_sane && statistics.column_sum_squares[c] >= 0.0 &&
              statistics.column_min[c] <= statistics.column_max[c];
  }
  return is_sane ? absl::OkStatus()
                 : Bad(name, "has statistics that cannot be");
}

absl::StatusOr<LayerStatistics> ReadStatistics(const Reader& reader,
                                               const std::string& index,
                                               const InputNumbers& numbers) {
  ASSIGN_OR_RETURN(const std::vector<float> columns,
                   reader.Finite(StrCat(index, kColumns)));
  if (columns.empty() || columns.size() % 2 != 0) {
    return Bad(StrCat(index, kColumns), "has the wrong size");
  }
  ASSIGN_OR_RETURN(
      const std::vector<double> sums,
      reader.Values<double>(StrCat(index, kColumnSums), columns.size()));
  ASSIGN_OR_RETURN(const std::vector<float> range,
                   reader.Finite(StrCat(index, kRange), 2));
  ASSIGN_OR_RETURN(const std::vector<double> batch_sums,
                   reader.Values<double>(StrCat(index, kBatchSums), 2));
  ASSIGN_OR_RETURN(std::vector<uint64_t> counts,
                   reader.Keys(StrCat(index, kHistogram)));
  LayerStatistics statistics(columns.size() / 2);
  auto histogram = Histogram::Create(static_cast<int>(numbers.exponent),
                                     numbers.first_bin, std::move(counts));
  if (!histogram.ok()) return Bad(index, histogram.status());
  statistics.histogram = *std::move(histogram);
  statistics.rows = numbers.rows;
  statistics.batches = numbers.batches;
  statistics.min = range[0];
  statistics.max = range[1];
  statistics.sum_batch_min = batch_sums[0];
  statistics.sum_batch_max = batch_sums[1];
  Split(columns, statistics.column_min, statistics.column_max);
  Split(sums, statistics.column_sum, statistics.column_sum_squares);
  for (size_t c = 0; c < statistics.columns(); ++c) {
    statistics.column_absmax[c] =
        std::max(-statistics.column_min[c], statistics.column_max[c]);
  }
  RETURN_IF_ERROR(CheckStatistics(index, statistics));
  return statistics;
}

absl::StatusOr<RowReservoir> ReadRows(const Reader& reader,
                                      const std::string& index, size_t capacity,
                                      size_t columns) {
  ASSIGN_OR_RETURN(const std::vector<uint64_t> keys,
                   reader.Keys(StrCat(index, kRowKeys)));
  ASSIGN_OR_RETURN(
      const std::vector<float> values,
      reader.Finite(StrCat(index, kRowValues), keys.size() * columns));
  RowReservoir rows(capacity, columns);
  rows.Offer({values.data(), keys.size(), columns}, keys);
  if (rows.keys() != absl::MakeConstSpan(keys)) {
    return Bad(index, "has kept rows that cannot be");
  }
  return rows;
}

absl::StatusOr<CalibratedInput> ReadInput(const Reader& reader,
                                          const std::string& index, Load what) {
  CalibratedInput input;
  ASSIGN_OR_RETURN(const InputNumbers numbers,
                   ReadNumbers(reader, StrCat(index, kNumbers)));
  ASSIGN_OR_RETURN(input.statistics, ReadStatistics(reader, index, numbers));
  const size_t columns = input.statistics.columns();
  input.named_rows = numbers.named_rows;
  input.rows = RowReservoir(numbers.capacity, columns);
  if (what == Load::kAll) {
    ASSIGN_OR_RETURN(input.rows,
                     ReadRows(reader, index, numbers.capacity, columns));
  }
  return input;
}

// [["layer", ...], ...]
absl::StatusOr<std::vector<std::vector<std::string>>> ReadLayerNames(
    const Reader& reader) {
  ASSIGN_OR_RETURN(const std::string text, reader.Text("layers"));
  ASSIGN_OR_RETURN(const nlohmann::json json,
                   bundle::ParseJson("layers", text));
  std::vector<std::vector<std::string>> inputs;
  bool is_sane = json.is_array();
  for (const auto& layers : json) {
    is_sane = is_sane && layers.is_array() && !layers.empty();
    if (!is_sane) break;
    std::vector<std::string>& names = inputs.emplace_back();
    for (const auto& layer : layers) {
      is_sane = is_sane && layer.is_string();
      if (is_sane) names.push_back(layer.get<std::string>());
    }
  }
  if (!is_sane) return Bad("layers", "is not a list of lists of names");
  return inputs;
}

absl::Status ReadInputs(const Reader& reader, Load what,
                        Calibration& calibration) {
  ASSIGN_OR_RETURN(const auto names, ReadLayerNames(reader));
  for (size_t i = 0; i < names.size(); ++i) {
    ASSIGN_OR_RETURN(CalibratedInput input, ReadInput(reader, StrCat(i), what));
    input.layers = names[i];
    if (!calibration.inputs.emplace(names[i][0], std::move(input)).second) {
      return Bad(names[i][0], "comes twice");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SampleReservoir::Sample>> ReadTokenSamples(
    const Reader& reader, const std::vector<uint64_t>& keys) {
  ASSIGN_OR_RETURN(const std::vector<int32_t> tokens,
                   reader.Values<int32_t>(kKeptTokens));
  ASSIGN_OR_RETURN(const std::vector<int32_t> lengths,
                   reader.Values<int32_t>(kKeptLengths, keys.size()));
  std::vector<SampleReservoir::Sample> samples;
  size_t begin = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto length = static_cast<size_t>(std::max(lengths[i], 0));
    if (length == 0 || length > tokens.size() - begin) {
      return Bad(kKeptLengths, "does not fit the kept tokens");
    }
    samples.push_back(SampleReservoir::Sample::OfTokens(
        keys[i], absl::MakeConstSpan(tokens).subspan(begin, length)));
    begin += length;
  }
  if (begin != tokens.size()) {
    return Bad(kKeptLengths, "does not fit the kept tokens");
  }
  return samples;
}

absl::StatusOr<std::vector<SampleReservoir::Sample>> ReadFeatureSamples(
    const Reader& reader, const std::vector<uint64_t>& keys) {
  ASSIGN_OR_RETURN(const std::vector<float> values,
                   reader.Finite(kKeptFeatures));
  const size_t width = keys.empty() ? 0 : values.size() / keys.size();
  if (width == 0 || width * keys.size() != values.size())
    return Bad(kKeptFeatures, "has the wrong size");
  std::vector<SampleReservoir::Sample> samples;
  for (size_t i = 0; i < keys.size(); ++i) {
    samples.push_back(SampleReservoir::Sample::OfFeatures(
        keys[i], absl::MakeConstSpan(values).subspan(i * width, width)));
  }
  return samples;
}

absl::Status ReadKept(const Reader& reader, SampleReservoir& kept) {
  ASSIGN_OR_RETURN(const std::vector<uint64_t> keys, reader.Keys(kKeptKeys));
  ASSIGN_OR_RETURN(auto samples, reader.Contains(kKeptFeatures)
                                     ? ReadFeatureSamples(reader, keys)
                                     : ReadTokenSamples(reader, keys));
  for (SampleReservoir::Sample& sample : samples) {
    kept.Offer(std::move(sample));
  }
  const auto wrong = [&](size_t i) { return kept.samples()[i].key != keys[i]; };
  bool is_sane = kept.samples().size() == keys.size();
  for (size_t i = 0; is_sane && i < keys.size(); ++i) is_sane = !wrong(i);
  return is_sane ? absl::OkStatus()
                 : Bad(kKeptKeys, "has kept samples that cannot be");
}

absl::StatusOr<SampleSketch> ReadSketch(const Reader& reader) {
  constexpr size_t kWords = kSignatureLanes / 2;
  ASSIGN_OR_RETURN(const std::vector<uint64_t> keys, reader.Keys(kSketchKeys));
  ASSIGN_OR_RETURN(
      const std::vector<int32_t> words,
      reader.Values<int32_t>(kSketchSignatures, keys.size() * kWords));
  ASSIGN_OR_RETURN(const std::vector<int32_t> near,
                   reader.Values<int32_t>(kSketchNear, keys.size()));
  std::vector<SampleSketch::Entry> entries(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    entries[i].key = keys[i];
    entries[i].is_near = near[i] != 0;
    for (size_t lane = 0; lane < kSignatureLanes; ++lane) {
      const auto word = static_cast<uint32_t>(words[i * kWords + lane / 2]);
      entries[i].signature[lane] =
          static_cast<uint16_t>(lane % 2 == 0 ? word : word >> 16);
    }
  }
  auto sketch = SampleSketch::Create(std::move(entries));
  if (!sketch.ok()) return Bad(kSketchKeys, sketch.status());
  return sketch;
}

absl::StatusOr<Calibration> Parse(const bundle::Safetensors& file, Load what) {
  const Reader reader(file);
  ASSIGN_OR_RETURN(const std::string format, reader.Text("format"));
  if (format != kCalibrationFormat) {
    return Bad("format",
               "is not the one this server writes; make the "
               "calibration again");
  }
  CalibrationOptions options;
  ASSIGN_OR_RETURN(options.seed, reader.Counter("seed"));
  ASSIGN_OR_RETURN(options.rows, reader.Counter("kept_rows"));
  ASSIGN_OR_RETURN(options.samples, reader.Counter("kept_samples"));
  if (const absl::Status status = CheckOptions(options); !status.ok()) {
    return Bad("options", status);
  }
  ASSIGN_OR_RETURN(std::string checkpoint, reader.Text("checkpoint"));
  Calibration calibration = NewCalibration(std::move(checkpoint), options);
  ASSIGN_OR_RETURN(calibration.fingerprint, reader.Text("fingerprint"));
  ASSIGN_OR_RETURN(calibration.batches, reader.Counter("batches"));
  ASSIGN_OR_RETURN(calibration.samples, reader.Counter("samples"));
  RETURN_IF_ERROR(ReadInputs(reader, what, calibration));
  ASSIGN_OR_RETURN(calibration.sketch, ReadSketch(reader));
  if (what == Load::kAll) {
    RETURN_IF_ERROR(ReadKept(reader, calibration.kept));
  }
  return calibration;
}

}  // namespace

absl::StatusOr<Calibration> ParseCalibration(absl::Span<const std::byte> file,
                                             Load what) {
  ASSIGN_OR_RETURN(const std::unique_ptr<bundle::Safetensors> tensors,
                   bundle::Safetensors::Parse(file));
  return Parse(*tensors, what);
}

}  // namespace octet::quantization
