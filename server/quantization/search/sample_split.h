// Samples that calibration kept, divided between what a search may look at and
// what its plans are verified on.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_SAMPLE_SPLIT_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_SAMPLE_SPLIT_H_

#include "server/model/model.h"

namespace octet::quantization {

struct SampleSplit {
  model::ModelInput tuning;  // the first three eighths
  model::ModelInput verification;
};

// Kept samples are in random order. With few of them, all serve for both.
SampleSplit SplitSamples(const model::ModelInput& kept);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_SAMPLE_SPLIT_H_
