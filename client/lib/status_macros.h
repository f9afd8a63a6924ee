// RETURN_IF_ERROR and ASSIGN_OR_RETURN for the client. The client includes
// nothing but the protos, so it does not borrow the macros of kernels/.

#ifndef OCTET_CLIENT_LIB_STATUS_MACROS_H_
#define OCTET_CLIENT_LIB_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define RETURN_IF_ERROR(expression)                                     \
  do {                                                                  \
    if (absl::Status octet_status = (expression); !octet_status.ok()) { \
      return octet_status;                                              \
    }                                                                   \
  } while (false)

#define OCTET_CLIENT_CONCAT_INNER(a, b) a##b
#define OCTET_CLIENT_CONCAT(a, b) OCTET_CLIENT_CONCAT_INNER(a, b)
#define OCTET_CLIENT_ASSIGN(or_value, lhs, expression)     \
  auto or_value = (expression);                            \
  if (!or_value.ok()) return std::move(or_value).status(); \
  lhs = *std::move(or_value)
#define ASSIGN_OR_RETURN(lhs, expression) \
  OCTET_CLIENT_ASSIGN(OCTET_CLIENT_CONCAT(octet_or_, __LINE__), lhs, expression)

#endif  // OCTET_CLIENT_LIB_STATUS_MACROS_H_
