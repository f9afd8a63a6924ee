// Which samples say nothing new: repeats, and near repeats.
//
// A sequence of tokens is the set of its pairs of neighbours, and two sequences
// are near duplicates when these sets overlap:
//
//   |A and B| / |A or B| >= 0.7
//
// estimated by MinHash: the share of kSignatureLanes hash functions whose
// smallest value over A equals that over B (Broder, "On the resemblance and
// containment of documents", 1997; standard error 0.06). A row of features is
// the set of its columns with their values in quarters of the row's median
// magnitude, zeros left out.
//
// Remembered are the kRememberedSamples samples with the smallest keys: 0.6 MB.
// The counts are a function of the set of these, so that calibrations of any
// split of the samples merge to the same counts. With more samples than that,
// repeats are estimated from the keys' spread (Bar-Yossef et al., 2002) and
// near duplicates from those remembered.

#ifndef OCTET_SERVER_QUANTIZATION_CALIBRATION_NEAR_DUPLICATES_H_
#define OCTET_SERVER_QUANTIZATION_CALIBRATION_NEAR_DUPLICATES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace octet::quantization {

inline constexpr double kNearDuplicateOverlap = 0.7;
inline constexpr size_t kSignatureLanes = 64;
inline constexpr size_t kRememberedSamples = 4096;

// The low 16 bits of each smallest hash.
using Signature = std::array<uint16_t, kSignatureLanes>;

// Shorter than three tokens or 16 columns has no signature of its own: such
// samples are compared by key only. `key` stands in for it, so that no two of
// them are near.
Signature SignatureOfTokens(absl::Span<const int32_t> tokens, uint64_t key);
Signature SignatureOfFeatures(absl::Span<const float> row, uint64_t key);
Signature SignatureOfKey(uint64_t key);

class SampleSketch {
 public:
  struct Entry {
    uint64_t key = 0;
    Signature signature{};
    bool is_near = false;  // a smaller key has almost the same content
  };

  SampleSketch() = default;
  // What entries() said. INVALID_ARGUMENT unless keys ascend and are few
  // enough.
  static absl::StatusOr<SampleSketch> Create(std::vector<Entry> entries);

  // Whether Add would remember a sample with this key that is not there yet.
  bool Wants(uint64_t key) const;
  void Add(uint64_t key, const Signature& signature);
  void Merge(const SampleSketch& other);

  absl::Span<const Entry> entries() const { return entries_; }  // by key

  // Different samples among all seen: exact up to kRememberedSamples, then
  // within a few percent.
  double Distinct() const;
  // Share of the different samples that are near duplicates of others.
  double NearShare() const;

 private:
  std::vector<Entry> entries_;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_CALIBRATION_NEAR_DUPLICATES_H_
