#include "server/quantization/methods/error_measures.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace octet::quantization {

void ErrorAccumulator::Add(absl::Span<const float> expected,
                           absl::Span<const float> actual) {
  for (size_t i = 0; i < expected.size(); ++i) {
    const double y = expected[i];
    const double z = actual[i];
    expected_squares_ += y * y;
    actual_squares_ += z * z;
    products_ += y * z;
    error_squares_ += (y - z) * (y - z);
    max_error_ = std::max(max_error_, std::fabs(y - z));
  }
}

void ErrorAccumulator::Merge(const ErrorAccumulator& other) {
  expected_squares_ += other.expected_squares_;
  actual_squares_ += other.actual_squares_;
  products_ += other.products_;
  error_squares_ += other.error_squares_;
  max_error_ = std::max(max_error_, other.max_error_);
}

bundle::ErrorMeasures ErrorAccumulator::Result() const {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  bundle::ErrorMeasures measures;
  measures.max_error = max_error_;
  if (error_squares_ == 0.0) {
    measures.sqnr_db = kInfinity;
    return measures;
  }
  measures.sqnr_db =
      expected_squares_ == 0.0
          ? -kInfinity
          : 10.0 * std::log10(expected_squares_ / error_squares_);
  const double norms =
      std::sqrt(expected_squares_) * std::sqrt(actual_squares_);
  measures.cosine = norms == 0.0 ? 0.0 : products_ / norms;
  return measures;
}

double Cosine(absl::Span<const float> a, absl::Span<const float> b) {
  ErrorAccumulator accumulator;
  accumulator.Add(a, b);
  return accumulator.Result().cosine;
}

}  // namespace octet::quantization
