// Samples that calibration kept, divided between what a search may look at and
// what its plans are verified on.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_SAMPLE_SPLIT_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_SAMPLE_SPLIT_H_

#include <cstddef>

#include "server/model/model.h"
#include "server/quantization/calibration/calibration.h"

namespace octet::quantization {

// A mean is promised with some confidence from this many samples that no plan
// was fitted to.
inline constexpr size_t kFewestVerified = 16;

struct SampleSplit {
  model::ModelInput tuning;        // the first three eighths
  model::ModelInput verification;  // of the others, those that are measured
  // Measured, although plans were tuned or fitted to them.
  model::ModelInput known;
  size_t unknown = 0;  // samples to verify on that no plan is fitted to
};

// Kept samples are in random order. With few of them, all serve for both.
SampleSplit SplitSamples(const Calibration& calibration);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_SAMPLE_SPLIT_H_
