// Fixed work, to time layers beside: a host that also serves gives them more or
// less of a core from one second to the next, and the same to this.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_PACE_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_PACE_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/int8_linear.h"

namespace octet::quantization {

class Pace {
 public:
  static absl::StatusOr<Pace> Create();

  // An INT8 linear that fits into L2: some tenths of a millisecond.
  absl::Status Work();

 private:
  explicit Pace(kernels::Int8Linear linear);

  kernels::Int8Linear linear_;
  std::vector<float> x_;
  std::vector<float> y_;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_PACE_H_
