#include "server/rpc/oip/parameters.h"

#include <utility>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/status.h"

namespace octet::rpc::oip {

using model::StrCat;

absl::StatusOr<std::optional<uint64_t>> NumberOf(const Parameters& parameters,
                                                 std::string_view key) {
  const auto found = parameters.find(std::string(key));
  if (found == parameters.end()) return std::nullopt;
  const inference::InferParameter& value = found->second;
  if (value.parameter_choice_case() ==
      inference::InferParameter::kUint64Param) {
    return value.uint64_param();
  }
  const std::string field = StrCat("parameters.", key);
  if (value.parameter_choice_case() != inference::InferParameter::kInt64Param) {
    return FieldViolation(field, "must be a whole number");
  }
  if (value.int64_param() < 0) {
    return FieldViolation(
        field, StrCat("is ", value.int64_param(), "; it must not be negative"));
  }
  return static_cast<uint64_t>(value.int64_param());
}

absl::StatusOr<RegionPart> RegionOf(const Parameters& parameters,
                                    const SharedMemory& memory) {
  RegionPart part;
  const auto found = parameters.find(kRegion);
  if (found == parameters.end()) return part;
  part.name = found->second.string_param();
  ASSIGN_OR_RETURN(part.region, memory.Find(part.name));
  ASSIGN_OR_RETURN(const auto size, NumberOf(parameters, kByteSize));
  ASSIGN_OR_RETURN(const auto offset, NumberOf(parameters, kOffset));
  if (!size) {
    return FieldViolation(StrCat("parameters.", kByteSize), "is missing");
  }
  part.byte_size = *size;
  part.offset = offset.value_or(0);
  RETURN_IF_ERROR(part.region->CheckRange(part.offset, part.byte_size));
  return part;
}

}  // namespace octet::rpc::oip
