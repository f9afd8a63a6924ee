#include "server/quantization/calibration/hold_out.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "server/quantization/calibration/sample_keys.h"

namespace octet::quantization {
namespace {

// Which sample a row is of, counted from the last one kept.
using SampleOfRow = std::unordered_map<uint64_t, size_t>;

SampleOfRow RowsFromTheLast(absl::Span<const SampleReservoir::Sample> samples) {
  SampleOfRow sample_of;
  for (size_t i = 0; i < samples.size(); ++i) {
    const SampleReservoir::Sample& sample = samples[samples.size() - 1 - i];
    const size_t rows = std::max<size_t>(sample.tokens.size(), 1);
    for (size_t position = 0; position < rows; ++position) {
      sample_of.emplace(RowKey(sample.key, position), i);
    }
  }
  return sample_of;
}

// How many samples an input of these rows can do without.
size_t MostHeldOut(absl::Span<const uint64_t> rows,
                   const SampleOfRow& sample_of, size_t samples) {
  std::vector<size_t> rows_of(samples);
  for (const uint64_t row : rows) {
    const auto found = sample_of.find(row);
    if (found != sample_of.end()) ++rows_of[found->second];
  }
  size_t taken = 0;
  for (size_t i = 0; i < samples; ++i) {
    taken += rows_of[i];
    if (2 * taken > rows.size()) return i;
  }
  return samples;
}

}  // namespace

void HoldOut(Calibration& calibration) {
  const auto samples = calibration.kept.samples();
  const SampleOfRow sample_of = RowsFromTheLast(samples);
  size_t count = samples.size();
  for (const auto& [name, input] : calibration.inputs) {
    count = std::min(count,
                     MostHeldOut(input.rows.keys(), sample_of, samples.size()));
  }
  for (auto& [name, input] : calibration.inputs) {
    input.rows.RemoveIf([&](uint64_t row) {
      const auto found = sample_of.find(row);
      return found != sample_of.end() && found->second < count;
    });
  }
  calibration.held_out = count;
}

}  // namespace octet::quantization
