// A search as people read it: what was tried, what it led to.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_SEARCH_REPORT_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_SEARCH_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/bundle/report.h"
#include "server/quantization/planning/policy.h"
#include "server/quantization/search/choice.h"
#include "server/quantization/search/search_items.h"
#include "server/quantization/search/sensitivity.h"

namespace octet::quantization {

// `chosen` names a trial of each item in all of these.

bundle::FrontierPoint MeasuredPoint(const std::vector<SearchItem>& items,
                                    const std::vector<size_t>& chosen,
                                    const Harm& harm);

// Plans for a row of limits, by what their layers did alone.
void AddPredictedPoints(const std::vector<SearchItem>& items,
                        const std::vector<std::vector<Option>>& options,
                        Measure measure,
                        std::vector<bundle::FrontierPoint>& frontier);

// What was tried of the item's linear number `layer`.
std::vector<bundle::CandidateReport> DescribeCandidates(const SearchItem& item,
                                                        size_t layer,
                                                        size_t chosen);

// FAILED_PRECONDITION: how near the nearest plan came, and which layers its
// error comes from.
absl::Status NoPlanHolds(const std::vector<SearchItem>& items,
                         const std::vector<size_t>& nearest, const Harm& harm,
                         model::Scheme float_scheme);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_SEARCH_REPORT_H_
