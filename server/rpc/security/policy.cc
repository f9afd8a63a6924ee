#include "server/rpc/security/policy.h"

#include <array>

namespace octet::rpc {
namespace {

struct Rule {
  std::string_view prefix;  // of the method
  Role role;
};

constexpr std::string_view kReflection = "/grpc.reflection.";

// The first that fits decides.
constexpr std::array kRules = {
    Rule{"/grpc.health.v1.Health/", Role::kAnyone},
    Rule{kReflection, Role::kInfer},

    Rule{"/octet.v1.InferenceService/", Role::kInfer},

    // Changes what is served, how much is logged, or which memory of the host
    // is mapped: not for those who only infer.
    Rule{"/inference.GRPCInferenceService/RepositoryModel", Role::kAdmin},
    Rule{"/inference.GRPCInferenceService/SystemSharedMemoryRegister",
         Role::kAdmin},
    Rule{"/inference.GRPCInferenceService/SystemSharedMemoryUnregister",
         Role::kAdmin},
    Rule{"/inference.GRPCInferenceService/CudaSharedMemoryRegister",
         Role::kAdmin},
    Rule{"/inference.GRPCInferenceService/CudaSharedMemoryUnregister",
         Role::kAdmin},
    Rule{"/inference.GRPCInferenceService/TraceSetting", Role::kAdmin},
    Rule{"/inference.GRPCInferenceService/LogSettings", Role::kAdmin},
    Rule{"/inference.GRPCInferenceService/", Role::kInfer},

    // Looking, as opposed to downloading weights or changing anything.
    Rule{"/octet.v1.ModelService/Get", Role::kInfer},
    Rule{"/octet.v1.ModelService/List", Role::kInfer},
    Rule{"/octet.v1.BundleService/Get", Role::kInfer},
    Rule{"/octet.v1.BundleService/List", Role::kInfer},
    Rule{"/octet.v1.CheckpointService/Get", Role::kInfer},
    Rule{"/octet.v1.CheckpointService/List", Role::kInfer},
    Rule{"/octet.v1.CalibrationService/Get", Role::kInfer},
    Rule{"/octet.v1.CalibrationService/List", Role::kInfer},
    Rule{"/octet.v1.QuantizationService/Get", Role::kInfer},
    Rule{"/octet.v1.QuantizationService/List", Role::kInfer},
    Rule{"/octet.v1.QuantizationService/Watch", Role::kInfer},
};

}  // namespace

std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kAnyone:
      return "anyone";
    case Role::kInfer:
      return "infer";
    case Role::kAdmin:
      return "admin";
  }
  return "?";
}

std::optional<Role> ParseRole(std::string_view name) {
  for (const Role role : {Role::kInfer, Role::kAdmin}) {
    if (name == RoleName(role)) return role;
  }
  return std::nullopt;
}

Role RoleNeeded(std::string_view method, bool open_reflection) {
  if (open_reflection && method.starts_with(kReflection)) return Role::kAnyone;
  for (const Rule& rule : kRules) {
    if (method.starts_with(rule.prefix)) return rule.role;
  }
  return Role::kAdmin;
}

}  // namespace octet::rpc
