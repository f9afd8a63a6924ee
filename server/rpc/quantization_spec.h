// QuantizationSpec of octet.v1 as the planner takes it.

#ifndef OCTET_SERVER_RPC_QUANTIZATION_SPEC_H_
#define OCTET_SERVER_RPC_QUANTIZATION_SPEC_H_

#include "absl/status/statusor.h"
#include "octet/v1/quantization_service.pb.h"
#include "server/quantization/planning/policy.h"

namespace octet::rpc {

// INVALID_ARGUMENT naming the field of a number that is none of its enum's.
// What patterns and numbers mean for a model is ResolveRequest's to check.
absl::StatusOr<quantization::PlanRequest> ParseSpec(
    const v1::QuantizationSpec& spec);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_QUANTIZATION_SPEC_H_
