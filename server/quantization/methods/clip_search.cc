#include "server/quantization/methods/clip_search.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace octet::quantization {
namespace {

// The part of bin i that values can be in.
struct Interval {
  double begin;
  double end;
};

Interval BinInterval(const LayerStatistics& statistics, size_t i) {
  const Histogram& histogram = statistics.histogram;
  return {std::max(histogram.LowerBound(i), double{statistics.min}),
          std::min(histogram.LowerBound(i + 1), double{statistics.max})};
}

// Integral of the squared error up to x, from a point that cancels.
class ErrorIntegral {
 public:
  explicit ErrorIntegral(const AffineParameters& codes)
      : scale_(codes.scale),
        lowest_(-codes.zero_point * scale_),
        highest_((255 - codes.zero_point) * scale_) {}

  double operator()(double x) const {
    if (x < lowest_) return Rounding(lowest_) + Cube(x - lowest_) / 3.0;
    if (x > highest_) return Rounding(highest_) + Cube(x - highest_) / 3.0;
    return Rounding(x);
  }

  double At(double x) const {  // the squared error of one value
    const double clipped = std::clamp(x, lowest_, highest_);
    const double error = x - std::nearbyint(clipped / scale_) * scale_;
    return error * error;
  }

 private:
  static double Cube(double x) { return x * x * x; }

  double Rounding(double x) const {
    const double u = x / scale_;
    const double k = std::nearbyint(u);
    return Cube(scale_) * (k / 12.0 + Cube(u - k) / 3.0);
  }

  double scale_;
  double lowest_;
  double highest_;
};

// [max(min, -t), min(max, t)].
Range Clip(const LayerStatistics& statistics, double magnitude) {
  const auto t = static_cast<float>(magnitude);
  return {std::max(statistics.min, -t), std::min(statistics.max, t)};
}

// Keeps the best range it was shown.
class LeastError {
 public:
  explicit LeastError(const LayerStatistics& statistics)
      : statistics_(statistics) {}

  void Try(Range range) {
    const double error =
        SquaredError(statistics_, AffineFromRange(range.min, range.max));
    if (error >= error_) return;
    error_ = error;
    best_ = range;
  }

  Range best() const { return best_; }

 private:
  const LayerStatistics& statistics_;
  double error_ = std::numeric_limits<double>::infinity();
  Range best_;
};

// KL(P || Q) of bins [begin, end) as 256 levels; the other bins are clipped.
double Divergence(const Histogram& histogram, size_t begin, size_t end) {
  constexpr size_t kLevels = 256;
  const absl::Span<const uint64_t> counts = histogram.counts();
  const auto zero = static_cast<size_t>(-histogram.first_bin());
  std::vector<double> p(end - begin);
  for (size_t i = 0; i < counts.size(); ++i) {
    if (i == zero) continue;
    p[std::clamp(i, begin, end - 1) - begin] += static_cast<double>(counts[i]);
  }
  std::vector<double> q(p.size());
  for (size_t level = 0; level < kLevels; ++level) {
    const size_t first = begin + level * p.size() / kLevels;
    const size_t last = begin + (level + 1) * p.size() / kLevels;
    double sum = 0.0;
    size_t filled = 0;
    for (size_t i = first; i < last; ++i) {
      if (i == zero || counts[i] == 0) continue;
      sum += static_cast<double>(counts[i]);
      ++filled;
    }
    for (size_t i = first; i < last; ++i) {
      if (i == zero || counts[i] == 0) continue;
      q[i - begin] = sum / static_cast<double>(filled);
    }
  }
  // An end bin may be empty but for what was clipped into it: half a value
  // stands for that in Q, so that the divergence stays finite.
  constexpr double kEmpty = 0.5;
  double p_sum = 0.0;
  double q_sum = 0.0;
  double divergence = 0.0;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] == 0.0) continue;
    const double other = q[i] == 0.0 ? kEmpty : q[i];
    p_sum += p[i];
    q_sum += other;
    divergence += p[i] * std::log(p[i] / other);
  }
  return p_sum == 0.0 ? 0.0 : divergence / p_sum + std::log(q_sum / p_sum);
}

}  // namespace

double SquaredError(const LayerStatistics& statistics,
                    const AffineParameters& codes) {
  const ErrorIntegral integral(codes);
  const absl::Span<const uint64_t> counts = statistics.histogram.counts();
  double error = 0.0;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    const Interval bin = BinInterval(statistics, i);
    const double width = bin.end - bin.begin;
    const double mean = width > 0.0
                            ? (integral(bin.end) - integral(bin.begin)) / width
                            : integral.At(bin.begin);
    error += static_cast<double>(counts[i]) * mean;
  }
  return error;
}

double CountOutside(Range range, const LayerStatistics& statistics) {
  const absl::Span<const uint64_t> counts = statistics.histogram.counts();
  double outside = 0.0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const Interval bin = BinInterval(statistics, i);
    const double width = bin.end - bin.begin;
    if (counts[i] == 0 || width <= 0.0) continue;
    const double inside =
        std::max(0.0, std::min(bin.end, double{range.max}) -
                          std::max(bin.begin, double{range.min}));
    outside += static_cast<double>(counts[i]) * (1.0 - inside / width);
  }
  return outside;
}

// First one magnitude for both ends, from the extremes down in steps of an
// eighth of an octave; then each end alone, in steps a quarter of that, and
// again a quarter.
Range LeastSquaredError(const LayerStatistics& statistics) {
  constexpr int kSteps = 64;  // down to 2^-8 of the extreme
  const double absmax = statistics.absmax();
  LeastError least(statistics);
  least.Try({statistics.min, statistics.max});
  for (int step = 1; step <= kSteps; ++step) {
    least.Try(Clip(statistics, absmax * std::exp2(-step / 8.0)));
  }
  for (const double octaves : {1.0 / 32.0, 1.0 / 32.0, 1.0 / 128.0}) {
    const Range start = least.best();
    for (int step = -8; step <= 8; ++step) {
      const auto factor = static_cast<float>(std::exp2(step * octaves));
      const float end = std::min(statistics.max, start.max * factor);
      least.Try({start.min, end});
    }
    const Range middle = least.best();
    for (int step = -8; step <= 8; ++step) {
      const auto factor = static_cast<float>(std::exp2(step * octaves));
      const float end = std::max(statistics.min, middle.min * factor);
      least.Try({end, middle.max});
    }
  }
  return least.best();
}

Range LeastDivergence(const LayerStatistics& statistics) {
  constexpr size_t kBins = 2048;  // the paper's
  constexpr size_t kLevels = 256;
  constexpr size_t kCandidates = 256;
  const Histogram histogram = statistics.histogram.Coarsened(kBins);
  const auto zero = static_cast<size_t>(-histogram.first_bin());
  const size_t bins = histogram.counts().size();
  const size_t reach = std::max(zero, bins - zero);  // bins on the longer side
  const size_t stride = std::max<size_t>(1, reach / kCandidates);
  Range best{statistics.min, statistics.max};
  double least = std::numeric_limits<double>::infinity();
  for (size_t clip = reach; clip > 0; clip -= std::min(clip, stride)) {
    const size_t begin = zero - std::min(zero, clip);
    const size_t end = std::min(bins, zero + clip);
    if (end - begin < kLevels) break;  // levels finer than bins tell nothing
    const double divergence = Divergence(histogram, begin, end);
    if (divergence >= least) continue;
    least = divergence;
    best = Clip(statistics, static_cast<double>(clip) * histogram.width());
  }
  return best;
}

}  // namespace octet::quantization
