// A calibration: statistics of every linear's input over the samples seen so
// far, and bounded samples of rows and of whole inputs to measure errors on.
//
// Memory does not depend on the number of batches. Calibrations of any split
// of the batches, merged in any order, are what one pass would have made
// (statistics.h, reservoir.h and near_duplicates.h say how exactly).

#ifndef OCTET_SERVER_QUANTIZATION_CALIBRATION_CALIBRATION_H_
#define OCTET_SERVER_QUANTIZATION_CALIBRATION_CALIBRATION_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/bundle/mapped_file.h"
#include "server/model/model.h"
#include "server/quantization/calibration/layer_samples.h"
#include "server/quantization/calibration/near_duplicates.h"
#include "server/quantization/calibration/reservoir.h"
#include "server/quantization/calibration/statistics.h"

namespace octet::quantization {

// How much a calibration keeps, settled when it is created.
struct CalibrationOptions {
  uint64_t seed = 0;    // decides which rows and samples are kept
  size_t rows = 2048;   // of each input that linears read
  size_t samples = 64;  // whole sequences or feature rows

  friend bool operator==(const CalibrationOptions&,
                         const CalibrationOptions&) = default;
};

inline constexpr size_t kMaxKeptRows = 65536;
inline constexpr size_t kMaxKeptSamples = 4096;
// Rows of all inputs together stay below this, in fewer rows each where a model
// is very wide or deep, but at least kFewestKeptRows of them.
inline constexpr size_t kKeptRowsBytes = size_t{256} << 20;
inline constexpr size_t kFewestKeptRows = 64;

// One value of the graph that linears read.
struct CalibratedInput {
  std::vector<std::string> layers;  // that read it, in execution order
  LayerStatistics statistics;
  RowReservoir rows;
  uint64_t named_rows = 0;  // that came as activations of a named layer
};

struct Calibration {
  std::string checkpoint;   // id
  std::string fingerprint;  // of its weights (fingerprint.h)
  CalibrationOptions options;
  uint64_t batches = 0;
  uint64_t samples = 0;  // sequences, feature rows, or activation rows
  SampleSketch sketch;
  SampleReservoir kept{CalibrationOptions().samples};
  size_t held_out = 0;  // the last of those kept; hold_out.h. Not in a file
  // By the first layer that reads the value.
  std::map<std::string, CalibratedInput, std::less<>> inputs;

  // The input of a linear layer; nullptr when it was never seen.
  const CalibratedInput* Find(std::string_view layer) const;
  // Statistics of every layer that was seen. They live in this calibration.
  StatisticsByLayer ByLayer() const;
  // Without rows when the layer's input was never seen, and without those of
  // samples that are held out.
  LayerSamples SamplesOf(std::string_view layer) const;
  // Samples that were kept, as one batch; empty when only activations came.
  model::ModelInput KeptInputs() const { return kept.AsBatch(); }
  // Of these, the first sample that errors are measured on: the first one that
  // is held out, or the first of all where none is.
  size_t FirstMeasured() const {
    return held_out == 0 ? 0 : kept.samples().size() - held_out;
  }
  model::ModelInput MeasuredInputs() const {
    return kept.AsBatch(FirstMeasured(), kept.samples().size());
  }

  uint64_t DuplicateSamples() const;      // repeats of others
  uint64_t NearDuplicateSamples() const;  // nearly so

  // Sentences for people: too few samples, too many, repeats, near repeats,
  // channels that are never active.
  std::vector<std::string> Warnings() const;
};

// INVALID_ARGUMENT names the field that is beyond its limit.
absl::Status CheckOptions(const CalibrationOptions& options);

Calibration NewCalibration(std::string checkpoint,
                           const CalibrationOptions& options);

// Runs the float model with observers. The batch counts whole or not at all:
// on an error `calibration` is as before.
absl::Status ObserveInputs(const model::Model& float_model,
                           const model::ModelInput& batch,
                           kernels::ThreadPool* pool, Calibration& calibration);

// Activations of one named linear, [rows, K]; they count for every linear that
// reads the same value. NOT_FOUND for an unknown layer, INVALID_ARGUMENT for a
// wrong width or a non-finite value (with its index).
absl::Status ObserveActivations(const model::Graph& graph,
                                std::string_view layer,
                                kernels::MatrixView<const float> x,
                                Calibration& calibration);

// INVALID_ARGUMENT naming a layer, token or width that a calibration from
// elsewhere has and the graph has not.
absl::Status CheckFits(const Calibration& calibration,
                       const model::Graph& graph);

// INVALID_ARGUMENT when the checkpoints, the seeds or the layers differ,
// FAILED_PRECONDITION when the weights do; `into` is then as before. Of
// different sizes of reservoirs the smaller holds.
absl::Status Merge(const Calibration& from, Calibration& into);

// Beyond what the limits above leave to a model of 70e9 parameters.
inline constexpr uint64_t kMaxCalibrationBytes = uint64_t{2} << 30;

// One file (safetensors), replaced atomically. LoadCalibration: NOT_FOUND, or
// DATA_LOSS for a file that Save did not write. `kStatistics` leaves out the
// rows and samples that were kept, which are most of the file.
enum class Load { kAll, kStatistics };
absl::Status Save(const Calibration& calibration,
                  const std::filesystem::path& file);
absl::StatusOr<Calibration> LoadCalibration(const std::filesystem::path& file,
                                            Load what = Load::kAll);

// A calibration that is read later, as it was when its file was opened: the
// file may be replaced or deleted. Takes no memory until then.
class CalibrationFile {
 public:
  static absl::StatusOr<CalibrationFile> Open(
      const std::filesystem::path& file);
  absl::StatusOr<Calibration> Read(Load what) const;

 private:
  CalibrationFile(std::string name, bundle::MappedFile bytes)
      : name_(std::move(name)), bytes_(std::move(bytes)) {}

  std::string name_;
  bundle::MappedFile bytes_;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_CALIBRATION_CALIBRATION_H_
