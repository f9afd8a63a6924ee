// Uniform samples of bounded size that merge exactly: of all things offered,
// those with the `capacity` smallest keys (a bottom-k sketch; Cohen and Kaplan,
// "Summarizing data using bottom-k sketches", PODC 2007). Keys are hashes
// (sample_keys.h), so that whoever is kept is drawn evenly, and the smallest
// keys of a union are among the smallest of its parts: any split of the
// things, in any order, ends in the same reservoir. A thing offered twice
// (equal keys) is kept once.

#ifndef OCTET_SERVER_QUANTIZATION_CALIBRATION_RESERVOIR_H_
#define OCTET_SERVER_QUANTIZATION_CALIBRATION_RESERVOIR_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "server/model/model.h"

namespace octet::quantization {

// Rows of one linear's input, by key: in random order.
class RowReservoir {
 public:
  RowReservoir() = default;
  RowReservoir(size_t capacity, size_t columns)
      : capacity_(capacity), columns_(columns) {}

  // keys.size() == x.rows; x has columns() columns.
  void Offer(kernels::MatrixView<const float> x,
             absl::Span<const uint64_t> keys);

  // The smaller of the two capacities holds from then on.
  void Merge(const RowReservoir& other);

  void RemoveIf(absl::FunctionRef<bool(uint64_t key)> is_unwanted);

  size_t capacity() const { return capacity_; }
  size_t columns() const { return columns_; }
  absl::Span<const uint64_t> keys() const { return keys_; }  // ascending
  kernels::MatrixView<const float> rows() const {
    return {values_.data(), keys_.size(), columns_};
  }

 private:
  size_t capacity_ = 0;
  size_t columns_ = 0;
  std::vector<uint64_t> keys_;
  std::vector<float> values_;  // [keys, columns]
};

// Whole samples of a model's input.
class SampleReservoir {
 public:
  struct Sample {
    uint64_t key = 0;
    std::vector<int32_t> tokens;  // or
    std::vector<float> features;  // one row

    static Sample OfTokens(uint64_t key, absl::Span<const int32_t> tokens) {
      Sample sample;
      sample.key = key;
      sample.tokens.assign(tokens.begin(), tokens.end());
      return sample;
    }
    static Sample OfFeatures(uint64_t key, absl::Span<const float> features) {
      Sample sample;
      sample.key = key;
      sample.features.assign(features.begin(), features.end());
      return sample;
    }
  };

  explicit SampleReservoir(size_t capacity = 0) : capacity_(capacity) {}

  // Whether Offer would keep a sample with this key.
  bool Wants(uint64_t key) const;
  void Offer(Sample sample);
  void Merge(const SampleReservoir& other);

  size_t capacity() const { return capacity_; }
  absl::Span<const Sample> samples() const { return samples_; }  // by key

  // One batch of all that is kept, or of samples [begin, end).
  model::ModelInput AsBatch() const { return AsBatch(0, samples_.size()); }
  model::ModelInput AsBatch(size_t begin, size_t end) const;

 private:
  void Shrink();

  size_t capacity_;
  std::vector<Sample> samples_;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_CALIBRATION_RESERVOIR_H_
