// What a budget allows a plan, in what it limits:
//
//   mean cosine      loss     <= 0.8 (1 - minimum)
//   relative error   error^2  <= 0.8 maximum^2
//   size             bytes of linear weights <= maximum - all other bytes
//
// A fifth of a budget of quality is kept back: calibration's samples are of one
// kind.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_ALLOWANCE_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_ALLOWANCE_H_

#include <cstdint>

#include "server/quantization/planning/policy.h"
#include "server/quantization/search/sensitivity.h"

namespace octet::quantization {

// What a budget limits.
enum class Measure { kMeanCosine, kRelativeError, kBytes };

// The mean loss, taken to be what it is at most, with 95 % confidence
// (one-sided, normal): samples are few.
double MostCosineLoss(const Harm& harm);

class Allowance {
 public:
  // Bytes: of the checkpoint as FP32, and of all that is no linear's weight.
  Allowance(const Budget& budget, uint64_t checkpoint_bytes,
            uint64_t other_bytes);

  Measure measure() const { return measure_; }
  double limit() const { return limit_; }

  // For budgets of quality: what a measurement must be taken for, and how much
  // of what is allowed that is (more than 1 is beyond it), the worst sample
  // included.
  double Assumed(const Harm& harm) const;
  double Share(const Harm& harm) const;

  // `bytes`: of linear weights.
  bool Holds(const Harm& harm, double bytes) const;

 private:
  Budget budget_;
  Measure measure_;
  double limit_;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_ALLOWANCE_H_
