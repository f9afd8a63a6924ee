#include "server/quantization/calibration/reservoir.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace octet::quantization {

// The batch's own smallest keys become a reservoir, which is merged.
void RowReservoir::Offer(kernels::MatrixView<const float> x,
                         absl::Span<const uint64_t> keys) {
  if (capacity_ == 0) return;
  std::vector<size_t> chosen;
  for (size_t r = 0; r < x.rows; ++r) {
    if (keys_.size() < capacity_ || keys[r] < keys_.back()) chosen.push_back(r);
  }
  if (chosen.empty()) return;
  std::sort(chosen.begin(), chosen.end(),
            [&](size_t a, size_t b) { return keys[a] < keys[b]; });
  RowReservoir batch(capacity_, columns_);
  for (const size_t r : chosen) {
    if (batch.keys_.size() == capacity_) break;
    if (!batch.keys_.empty() && batch.keys_.back() == keys[r]) continue;
    batch.keys_.push_back(keys[r]);
    batch.values_.insert(batch.values_.end(), x.row(r), x.row(r) + columns_);
  }
  Merge(batch);
}

void RowReservoir::Merge(const RowReservoir& other) {
  RowReservoir merged(std::min(capacity_, other.capacity_), columns_);
  const size_t most =
      std::min(merged.capacity_, keys_.size() + other.keys_.size());
  merged.keys_.reserve(most);
  merged.values_.reserve(most * columns_);
  size_t a = 0;
  size_t b = 0;
  while (merged.keys_.size() < merged.capacity_ &&
         (a < keys_.size() || b < other.keys_.size())) {
    const bool take_mine = b == other.keys_.size() ||
                           (a < keys_.size() && keys_[a] <= other.keys_[b]);
    const RowReservoir& from = take_mine ? *this : other;
    const size_t row = take_mine ? a : b;
    if (take_mine && b < other.keys_.size() && keys_[a] == other.keys_[b]) ++b;
    ++(take_mine ? a : b);
    merged.keys_.push_back(from.keys_[row]);
    const float* values = from.values_.data() + row * columns_;
    merged.values_.insert(merged.values_.end(), values, values + columns_);
  }
  *this = std::move(merged);
}

void RowReservoir::RemoveIf(absl::FunctionRef<bool(uint64_t key)> is_unwanted) {
  size_t left = 0;
  for (size_t r = 0; r < keys_.size(); ++r) {
    if (is_unwanted(keys_[r])) continue;
    keys_[left] = keys_[r];
    std::copy_n(values_.data() + r * columns_, columns_,
                values_.data() + left * columns_);
    ++left;
  }
  keys_.resize(left);
  values_.resize(left * columns_);
}

bool SampleReservoir::Wants(uint64_t key) const {
  return capacity_ > 0 &&
         (samples_.size() < capacity_ || key < samples_.back().key);
}

void SampleReservoir::Offer(Sample sample) {
  if (!Wants(sample.key)) return;
  const auto place = std::lower_bound(
      samples_.begin(), samples_.end(), sample.key,
      [](const Sample& kept, uint64_t key) { return kept.key < key; });
  if (place != samples_.end() && place->key == sample.key) return;
  samples_.insert(place, std::move(sample));
  Shrink();
}

void SampleReservoir::Merge(const SampleReservoir& other) {
  capacity_ = std::min(capacity_, other.capacity_);
  Shrink();
  for (const Sample& sample : other.samples_) Offer(sample);
}

void SampleReservoir::Shrink() {
  if (samples_.size() > capacity_) samples_.resize(capacity_);
}

model::ModelInput SampleReservoir::AsBatch(size_t begin, size_t end) const {
  model::ModelInput batch;
  for (size_t i = begin; i < end; ++i) {
    const Sample& sample = samples_[i];
    if (!sample.features.empty()) {
      batch.features.insert(batch.features.end(), sample.features.begin(),
                            sample.features.end());
      ++batch.feature_rows;
    } else {
      batch.lengths.push_back(static_cast<int32_t>(sample.tokens.size()));
      batch.token_ids.insert(batch.token_ids.end(), sample.tokens.begin(),
                             sample.tokens.end());
    }
  }
  return batch;
}

}  // namespace octet::quantization
