// Who may call what: the one table. Everything that is not in it needs the role
// admin, so that a method added later is closed until somebody opens it.

#ifndef OCTET_SERVER_RPC_SECURITY_POLICY_H_
#define OCTET_SERVER_RPC_SECURITY_POLICY_H_

#include <cstdint>
#include <optional>
#include <string_view>

namespace octet::rpc {

// Each may do what those before it may.
enum class Role : uint8_t { kAnyone, kInfer, kAdmin };

std::string_view RoleName(Role role);                  // "infer"
std::optional<Role> ParseRole(std::string_view name);  // "infer" or "admin"

// `method` as on the wire: "/octet.v1.InferenceService/Forward".
Role RoleNeeded(std::string_view method, bool open_reflection);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_SECURITY_POLICY_H_
