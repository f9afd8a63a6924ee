#include "server/quantization/calibration/histogram.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/status/status.h"

namespace octet::quantization {
namespace {

// One subnormal step of FP32: every FP32 is a multiple of it.
constexpr int kMinExponent = -149;
// Bins of 2^117 hold the whole of FP32.
constexpr int kMaxExponent = 117;

// In double a power of two scales every FP32 exactly.
int64_t BinOf(float x, int exponent) {
  return static_cast<int64_t>(
      std::floor(std::ldexp(static_cast<double>(x), -exponent)));
}

// From bins of a finer grid to those of a coarser one. Any further shift of an
// index gives the same 0 or -1.
int Shift(int from, int to) { return std::min(to - from, 63); }

// Smallest exponent of bins, no smaller than `at_least`, that hold [min, max].
int ExponentFor(float min, float max, int at_least) {
  int exponent = at_least;
  const double range = static_cast<double>(max) - min;
  if (range > 0.0) {
    // 4096 to 8192 bins: what is finer cannot fit.
    exponent = std::max(exponent, std::ilogb(range) - 12);
  }
  while (BinOf(max, exponent) - BinOf(min, exponent) >=
         static_cast<int64_t>(Histogram::kMaxBins)) {
    ++exponent;
  }
  return exponent;
}

}  // namespace

Histogram::Histogram() : exponent_(kMinExponent), counts_(1) {}

absl::StatusOr<Histogram> Histogram::Create(int exponent, int64_t first_bin,
                                            std::vector<uint64_t> counts) {
  const auto bins = static_cast<int64_t>(counts.size());
  if (exponent < kMinExponent || exponent > kMaxExponent || bins < 1 ||
      counts.size() > kMaxBins || first_bin > 0 || first_bin + bins < 1) {
    return absl::InvalidArgumentError("a histogram with bins that cannot be");
  }
  Histogram histogram;
  histogram.exponent_ = exponent;
  histogram.first_ = first_bin;
  histogram.counts_ = std::move(counts);
  return histogram;
}

// Bin i of the new grid holds the bins of the old one that begin with i.
void Histogram::Regrid(int exponent, int64_t first, int64_t last) {
  const int shift = Shift(exponent_, exponent);
  std::vector<uint64_t> counts(static_cast<size_t>(last - first + 1));
  for (size_t i = 0; i < counts_.size(); ++i) {
    const int64_t bin = (first_ + static_cast<int64_t>(i)) >> shift;
    counts[static_cast<size_t>(bin - first)] += counts_[i];
  }
  exponent_ = exponent;
  first_ = first;
  counts_ = std::move(counts);
}

// Each range fits alone; together they may need wider bins.
void Histogram::Fit(int exponent, int64_t first, int64_t last) {
  for (int wide = std::max(exponent, exponent_);; ++wide) {
    const int mine = Shift(exponent_, wide);
    const int theirs = Shift(exponent, wide);
    const int64_t begin = std::min(first_ >> mine, first >> theirs);
    const int64_t end = std::max(last_bin() >> mine, last >> theirs);
    if (end - begin < static_cast<int64_t>(kMaxBins)) {
      if (wide != exponent_ || begin != first_ || end != last_bin()) {
        Regrid(wide, begin, end);
      }
      return;
    }
  }
}

void Histogram::Widen(float min, float max) {
  min = std::min(min, 0.0F);
  max = std::max(max, 0.0F);
  const int exponent = ExponentFor(min, max, exponent_);
  Fit(exponent, BinOf(min, exponent), BinOf(max, exponent));
}

void Histogram::Count(kernels::MatrixView<const float> x) {
  const double inverse = std::ldexp(1.0, -exponent_);
  for (size_t r = 0; r < x.rows; ++r) {
    const float* row = x.row(r);
    for (size_t c = 0; c < x.cols; ++c) {
      const double place = static_cast<double>(row[c]) * inverse;
      auto bin = static_cast<int64_t>(place);  // towards zero
      bin -= static_cast<double>(bin) > place ? 1 : 0;
      ++counts_[static_cast<size_t>(bin - first_)];
    }
  }
}

void Histogram::Merge(const Histogram& other) {
  Fit(other.exponent_, other.first_, other.last_bin());
  const int shift = Shift(other.exponent_, exponent_);
  for (size_t i = 0; i < other.counts_.size(); ++i) {
    const int64_t bin = (other.first_ + static_cast<int64_t>(i)) >> shift;
    counts_[static_cast<size_t>(bin - first_)] += other.counts_[i];
  }
}

double Histogram::width() const { return std::ldexp(1.0, exponent_); }

uint64_t Histogram::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), uint64_t{0});
}

Histogram Histogram::Coarsened(size_t max_bins) const {
  Histogram coarse = *this;
  while (coarse.counts_.size() > max_bins) {
    coarse.Regrid(coarse.exponent_ + 1, coarse.first_ >> 1,
                  coarse.last_bin() >> 1);
  }
  return coarse;
}

}  // namespace octet::quantization
