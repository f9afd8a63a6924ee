#include "server/quantization/search/sample_split.h"

#include <algorithm>

namespace octet::quantization {
namespace {

// Gains need few samples, the verification many.
constexpr double kTuningShare = 0.375;
constexpr size_t kFewestSamples = 16;

}  // namespace

SampleSplit SplitSamples(const Calibration& calibration) {
  const SampleReservoir& kept = calibration.kept;
  const size_t count = kept.samples().size();
  const size_t measured = calibration.FirstMeasured();
  const bool is_few = count < kFewestSamples;
  const size_t tuned =
      is_few ? count
             : static_cast<size_t>(kTuningShare * static_cast<double>(count));
  const size_t verified = is_few ? measured : std::max(tuned, measured);
  const bool holds_out = calibration.held_out > 0;
  SampleSplit split;
  split.tuning = kept.AsBatch(0, tuned);
  split.verification = kept.AsBatch(verified, count);
  split.known =
      kept.AsBatch(std::min(measured, tuned), holds_out ? tuned : count);
  split.unknown = holds_out && !is_few ? count - verified : 0;
  return split;
}

}  // namespace octet::quantization
