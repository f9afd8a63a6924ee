// A status's message as what gmock's matchers take.

#ifndef OCTET_TESTS_SERVER_SERVING_STATUS_MESSAGE_H_
#define OCTET_TESTS_SERVER_SERVING_STATUS_MESSAGE_H_

#include <string>

#include "absl/status/status.h"

namespace octet::serving {

inline std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

}  // namespace octet::serving

#endif  // OCTET_TESTS_SERVER_SERVING_STATUS_MESSAGE_H_
