// The limit to give the choice of a plan so that the plan uses up a budget:
// what layers do alone is not quite what they do together.
//
// A plan for the limit l used a share u(l) of the budget. While all plans held,
// or none did, the next limit is l / u(l); then secant steps in logarithms
// between the largest limit that held and the smallest that did not.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_LIMIT_SEARCH_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_LIMIT_SEARCH_H_

namespace octet::quantization {

class LimitSearch {
 public:
  explicit LimitSearch(double limit) : limit_(limit) {}

  double next() const { return limit_; }

  // What came of the plan for next(). A plan may use little and fail yet.
  void Add(double share, bool holds);

 private:
  double limit_;
  double held_limit_ = 0.0;  // 0: none yet
  double held_share_ = 0.0;
  double failed_limit_ = 0.0;
  double failed_share_ = 0.0;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_LIMIT_SEARCH_H_
