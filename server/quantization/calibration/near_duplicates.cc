#include "server/quantization/calibration/near_duplicates.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "server/quantization/calibration/sample_keys.h"

namespace octet::quantization {
namespace {

constexpr size_t kFewestTokens = 3;
constexpr size_t kFewestColumns = 16;
constexpr double kMostQuarters = 1e9;  // fits 32 bits

// Smallest values of the hash functions over a set.
class MinHash {
 public:
  MinHash() { smallest_.fill(std::numeric_limits<uint64_t>::max()); }

  void Add(uint64_t item) {
    const uint64_t base = MixBits(item);
    for (size_t lane = 0; lane < kSignatureLanes; ++lane) {
      smallest_[lane] = std::min(smallest_[lane], RowKey(base, lane));
    }
  }

  Signature Result() const {
    Signature signature;
    for (size_t lane = 0; lane < kSignatureLanes; ++lane) {
      signature[lane] = static_cast<uint16_t>(smallest_[lane]);
    }
    return signature;
  }

 private:
  std::array<uint64_t, kSignatureLanes> smallest_;
};

// Of the values that are not zero; 0 when all are. Not the largest, which would
// leave nothing of a row with an outlier feature but that.
double MedianMagnitude(absl::Span<const float> row) {
  std::vector<float> magnitudes;
  for (const float value : row) {
    if (value != 0.0F) magnitudes.push_back(std::fabs(value));
  }
  if (magnitudes.empty()) return 0.0;
  const auto middle =
      magnitudes.begin() + static_cast<ptrdiff_t>(magnitudes.size() / 2);
  std::nth_element(magnitudes.begin(), middle, magnitudes.end());
  return *middle;
}

bool AreNear(const Signature& a, const Signature& b) {
  int equal = 0;
  for (size_t lane = 0; lane < kSignatureLanes; ++lane) {
    equal += a[lane] == b[lane] ? 1 : 0;
  }
  return equal >= kNearDuplicateOverlap * kSignatureLanes;
}

}  // namespace

Signature SignatureOfKey(uint64_t key) {
  MinHash hash;
  hash.Add(key);
  return hash.Result();
}

Signature SignatureOfTokens(absl::Span<const int32_t> tokens, uint64_t key) {
  if (tokens.size() < kFewestTokens) return SignatureOfKey(key);
  MinHash hash;
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    const auto first = static_cast<uint32_t>(tokens[i]);
    const auto second = static_cast<uint32_t>(tokens[i + 1]);
    hash.Add(uint64_t{first} << 32 | second);
  }
  return hash.Result();
}

Signature SignatureOfFeatures(absl::Span<const float> row, uint64_t key) {
  const double median = MedianMagnitude(row);
  if (row.size() < kFewestColumns || median == 0.0) return SignatureOfKey(key);
  MinHash hash;
  for (size_t c = 0; c < row.size(); ++c) {
    const int64_t quarters =
        std::llround(std::clamp(4.0 * static_cast<double>(row[c]) / median,
                                -kMostQuarters, kMostQuarters));
    if (quarters == 0) continue;
    hash.Add(uint64_t{c} << 32 | static_cast<uint32_t>(quarters));
  }
  return hash.Result();
}

absl::StatusOr<SampleSketch> SampleSketch::Create(std::vector<Entry> entries) {
  const auto falls = [](const Entry& a, const Entry& b) {
    return a.key >= b.key;
  };
  if (entries.size() > kRememberedSamples ||
      std::adjacent_find(entries.begin(), entries.end(), falls) !=
          entries.end()) {
    return absl::InvalidArgumentError("sample keys that cannot be");
  }
  SampleSketch sketch;
  sketch.entries_ = std::move(entries);
  return sketch;
}

bool SampleSketch::Wants(uint64_t key) const {
  return entries_.size() < kRememberedSamples || key < entries_.back().key;
}

// A sample is near when one with a smaller key is like it: the newcomer may be
// near itself, and make those after it near. What falls out has the largest
// key, and made nobody near.
void SampleSketch::Add(uint64_t key, const Signature& signature) {
  if (!Wants(key)) return;
  const auto place = std::lower_bound(
      entries_.begin(), entries_.end(), key,
      [](const Entry& entry, uint64_t k) { return entry.key < k; });
  if (place != entries_.end() && place->key == key) return;
  Entry added{key, signature};
  added.is_near = std::any_of(entries_.begin(), place, [&](const Entry& entry) {
    return AreNear(entry.signature, signature);
  });
  for (auto later = place; later != entries_.end(); ++later) {
    later->is_near = later->is_near || AreNear(later->signature, signature);
  }
  entries_.insert(place, added);
  if (entries_.size() > kRememberedSamples) entries_.pop_back();
}

void SampleSketch::Merge(const SampleSketch& other) {
  for (const Entry& entry : other.entries_) Add(entry.key, entry.signature);
}

// k smallest of n even keys in [0, 2^64): the largest of them is about
// k / n * 2^64.
double SampleSketch::Distinct() const {
  const auto kept = static_cast<double>(entries_.size());
  if (entries_.size() < kRememberedSamples) return kept;
  const double reach =
      std::ldexp(static_cast<double>(entries_.back().key), -64);
  return std::max(kept, (kept - 1.0) / reach);
}

double SampleSketch::NearShare() const {
  if (entries_.empty()) return 0.0;
  const auto near = std::count_if(entries_.begin(), entries_.end(),
                                  [](const Entry& e) { return e.is_near; });
  return static_cast<double>(near) / static_cast<double>(entries_.size());
}

}  // namespace octet::quantization
