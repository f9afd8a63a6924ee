#include "client/lib/rpc_status.h"

#include <string>

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"

namespace octet::client {
namespace {

grpc::Status Refusal(const std::string& message) {
  google::rpc::BadRequest request;
  auto* violation = request.add_field_violations();
  violation->set_field("spec.include[0]");
  violation->set_description("'decoder.*' matches no layer");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(250'000'000);
  google::rpc::Status status;
  status.set_code(3);
  status.set_message(message);
  status.add_details()->PackFrom(retry);
  status.add_details()->PackFrom(request);
  return {grpc::StatusCode::INVALID_ARGUMENT, message,
          status.SerializeAsString()};
}

TEST(RpcStatus, KeepsCodeMessageAndDetails) {
  const absl::Status status = FromGrpc(Refusal("the plan cannot be made"));
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), "the plan cannot be made");
  const auto violations = FieldViolations(status);
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_EQ(violations[0].field, "spec.include[0]");
  EXPECT_EQ(violations[0].description, "'decoder.*' matches no layer");
  EXPECT_EQ(RetryDelay(status), absl::Milliseconds(250));
}

TEST(RpcStatus, DescribesViolationsOnceOnLinesOfTheirOwn) {
  EXPECT_EQ(Describe(FromGrpc(Refusal("the plan cannot be made"))),
            "INVALID_ARGUMENT: the plan cannot be made\n"
            "  spec.include[0]: 'decoder.*' matches no layer");
  const std::string all = "spec.include[0]: 'decoder.*' matches no layer";
  EXPECT_EQ(Describe(FromGrpc(Refusal(all))), "INVALID_ARGUMENT: " + all);
}

TEST(RpcStatus, LivesWithStrangeAnswers) {
  EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok());
  const absl::Status garbage =
      FromGrpc({grpc::StatusCode::INTERNAL, "oops", "\xFF\xFF garbage"});
  EXPECT_EQ(Describe(garbage), "INTERNAL: oops");
  EXPECT_EQ(Describe(absl::CancelledError("CANCELLED")), "CANCELLED");
  EXPECT_FALSE(RetryDelay(garbage).has_value());
  EXPECT_TRUE(absl::IsUnknown(
      FromGrpc({static_cast<grpc::StatusCode>(31), "from the future"})));
}

TEST(RpcStatus, EveryCodeOfGrpcKeepsItsMeaning) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status =
        FromGrpc({static_cast<grpc::StatusCode>(code), "x"});
    EXPECT_EQ(static_cast<int>(status.code()), code);
  }
}

}  // namespace
}  // namespace octet::client
