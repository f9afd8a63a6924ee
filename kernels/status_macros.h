// RETURN_IF_ERROR and ASSIGN_OR_RETURN, as used all over Google's C++.

#ifndef OCTET_KERNELS_STATUS_MACROS_H_
#define OCTET_KERNELS_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define OCTET_CONCAT_INNER(a, b) a##b
#define OCTET_CONCAT(a, b) OCTET_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expression)                                     \
  do {                                                                  \
    if (absl::Status octet_status = (expression); !octet_status.ok()) { \
      return octet_status;                                              \
    }                                                                   \
  } while (false)

#define ASSIGN_OR_RETURN(lhs, expression) \
  OCTET_ASSIGN_OR_RETURN(OCTET_CONCAT(octet_or_, __LINE__), lhs, expression)

#define OCTET_ASSIGN_OR_RETURN(or_value, lhs, expression)  \
  auto or_value = (expression);                            \
  if (!or_value.ok()) return std::move(or_value).status(); \
  lhs = *std::move(or_value)

#endif  // OCTET_KERNELS_STATUS_MACROS_H_
