// What a search chooses between: for the linears of each input, the ways to
// quantize them, and what each would do to the model's output.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_SEARCH_ITEMS_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_SEARCH_ITEMS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/model.h"
#include "server/quantization/calibration/input_groups.h"
#include "server/quantization/planning/policy.h"
#include "server/quantization/search/allowance.h"
#include "server/quantization/search/choice.h"
#include "server/quantization/search/search.h"
#include "server/quantization/search/sensitivity.h"
#include "server/quantization/search/speed.h"
#include "server/quantization/search/trial.h"

namespace octet::quantization {

struct SearchItem {
  InputGroup linears;                  // that are quantized alike
  std::vector<LayerRequest> requests;  // one where the request leaves no choice
  std::vector<Trial> trials;           // of each
  std::vector<uint64_t> bias_bytes;    // of each linear, where none corrects it
  double cosine_gain = 0.0;            // sensitivity.h
  double square_gain = 0.0;

  double CosineLoss(const Trial& trial) const {
    return cosine_gain * trial.noise();
  }
  double RelativeSquare(const Trial& trial) const {
    return square_gain * trial.noise();
  }
  // What the trial stores, less the biases it stores another for.
  double AddedBytes(const Trial& trial) const;
};

// How a layer would be stored if it stayed float.
struct FloatStorage {
  // Of the weight; INT8 for a layer without that choice.
  model::Scheme scheme = model::Scheme::kFp32;
  uint64_t bias_bytes = 0;
};

// Items without trials.
absl::StatusOr<std::vector<SearchItem>> MakeItems(
    const SearchJob& job, const std::map<std::string, FloatStorage>& floats);

// The float model on samples that the search may look at.
struct Tuning {
  const model::Model& float_model;
  std::vector<model::ModelInput> batches;
  std::vector<model::ModelOutput> outputs;
};

// Fills in the trials of all requests, and the gains. Of several requests those
// in INT8 that cannot be built are dropped.
absl::Status TryAll(const SearchJob& job, const Tuning& tuning,
                    SpeedTable& speed, SearchItem& item);

// Items as choice.h sees them; uses are in the unit of Allowance::limit.
std::vector<std::vector<Option>> Options(const std::vector<SearchItem>& items,
                                         Measure measure);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_SEARCH_ITEMS_H_
