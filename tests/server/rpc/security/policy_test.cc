// tests/e2e/test_tokens.py asks a server about every method of octet.v1; here
// are the services that others define, and what is in no table.

#include "server/rpc/security/policy.h"

#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "inference/grpc_service.pb.h"
#include "server/model/str_cat.h"

namespace octet::rpc {
namespace {

TEST(Policy, WhatNobodyPutIntoTheTableNeedsAdmin) {
  for (const char* method :
       {"", "/", "/octet.v1.NewService/Get", "/octet.v1.InferenceServiceX/Run",
        "octet.v1.InferenceService/Forward", "/grpc.health.v1.HealthX/Check",
        "/octet.v1.BundleService/DownloadBundle",
        "/octet.v1.CalibrationService/StartCapture",
        "/octet.v1.CalibrationService/StopCapture"}) {
    EXPECT_EQ(RoleNeeded(method, /*open_reflection=*/true), Role::kAdmin)
        << method;
  }
}

TEST(Policy, HealthIsOpenAndReflectionAsAsked) {
  EXPECT_EQ(RoleNeeded("/grpc.health.v1.Health/Watch", false), Role::kAnyone);
  const char* const reflection =
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  EXPECT_EQ(RoleNeeded(reflection, false), Role::kInfer);
  EXPECT_EQ(RoleNeeded(reflection, true), Role::kAnyone);
}

// Of the Open Inference Protocol, those who infer may do what changes neither
// the server nor what it maps.
TEST(Policy, OpenInferenceMethodsThatChangeTheServerNeedAdmin) {
  inference::ModelInferRequest linked;  // and with it the descriptors
  const auto* service =
      linked.GetDescriptor()->file()->FindServiceByName("GRPCInferenceService");
  ASSERT_NE(service, nullptr);
  for (int i = 0; i < service->method_count(); ++i) {
    const std::string& name = service->method(i)->name();
    const bool infer =
        name.starts_with("Server") || name == "RepositoryIndex" ||
        name.ends_with("SharedMemoryStatus") || name.starts_with("Model");
    EXPECT_EQ(
        RoleNeeded(model::StrCat("/inference.GRPCInferenceService/", name),
                   false),
        infer ? Role::kInfer : Role::kAdmin)
        << name;
  }
}

}  // namespace
}  // namespace octet::rpc
