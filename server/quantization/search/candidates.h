// The ways to quantize a layer that policy `auto` tries.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_CANDIDATES_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_CANDIDATES_H_

#include <cstddef>
#include <string>
#include <vector>

#include "server/quantization/calibration/calibration.h"
#include "server/quantization/planning/policy.h"

namespace octet::quantization {

// For linears of `in_features` inputs; the float scheme is the last. What
// cannot differ from another is left out: groups of as many inputs as there
// are, LLM.int8 where calibration (nullptr: none) saw no outlier.
std::vector<LayerRequest> Candidates(size_t in_features,
                                     const CalibratedInput* input,
                                     const PlanRequest& request,
                                     model::Scheme float_scheme);

// "w8a8_dynamic, rotated by 128, groups of 64, gptq", for people.
std::string Describe(const LayerRequest& request);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_CANDIDATES_H_
