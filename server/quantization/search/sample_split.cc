#include "server/quantization/search/sample_split.h"

#include <cstddef>

namespace octet::quantization {

using model::ModelInput;

namespace {

// Gains need few samples, the verification many.
constexpr double kTuningShare = 0.375;
constexpr size_t kFewestSamples = 16;

}  // namespace

SampleSplit SplitSamples(const ModelInput& kept) {
  const size_t count =
      kept.feature_rows > 0 ? kept.feature_rows : kept.lengths.size();
  if (count < kFewestSamples) return {kept, kept};
  const auto first =
      static_cast<size_t>(kTuningShare * static_cast<double>(count));
  SampleSplit split;
  if (kept.feature_rows > 0) {
    const size_t values = kept.features.size() / count * first;
    split.tuning.features.assign(kept.features.begin(),
                                 kept.features.begin() + values);
    split.tuning.feature_rows = first;
    split.verification.features.assign(kept.features.begin() + values,
                                       kept.features.end());
    split.verification.feature_rows = count - first;
    return split;
  }
  size_t token = 0;
  for (size_t i = 0; i < count; ++i) {
    ModelInput& into = i < first ? split.tuning : split.verification;
    into.lengths.push_back(kept.lengths[i]);
    into.token_ids.insert(into.token_ids.end(), kept.token_ids.begin() + token,
                          kept.token_ids.begin() + token + kept.lengths[i]);
    token += kept.lengths[i];
  }
  return split;
}

}  // namespace octet::quantization
