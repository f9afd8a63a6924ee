// How far quantized values are from float ones, accumulated in double over any
// number of batches. The formulas stand in server/bundle/report.h.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_ERROR_MEASURES_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_ERROR_MEASURES_H_

#include <cstddef>

#include "absl/types/span.h"
#include "server/bundle/report.h"

namespace octet::quantization {

class ErrorAccumulator {
 public:
  // Spans of equal length.
  void Add(absl::Span<const float> expected, absl::Span<const float> actual);

  // What `other` was given as well.
  void Merge(const ErrorAccumulator& other);

  // SQNR is +infinity where both agree exactly and -infinity where something
  // came of nothing; cosine is 1 where both are zero and 0 where one is.
  bundle::ErrorMeasures Result() const;

 private:
  double expected_squares_ = 0.0;
  double actual_squares_ = 0.0;
  double products_ = 0.0;
  double error_squares_ = 0.0;
  double max_error_ = 0.0;
};

double Cosine(absl::Span<const float> a, absl::Span<const float> b);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_ERROR_MEASURES_H_
