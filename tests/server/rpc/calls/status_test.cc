#include "server/rpc/calls/status.h"

#include <new>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"
#include "gtest/gtest.h"

namespace octet::rpc {
namespace {

google::rpc::Status Details(const absl::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(ToGrpcStatus(status).error_details()));
  return details;
}

// The detail of that type, or its default.
template <typename Detail>
Detail Find(const google::rpc::Status& status) {
  Detail detail;
  for (const auto& any : status.details()) {
    if (any.Is<Detail>()) any.UnpackTo(&detail);
  }
  return detail;
}

TEST(Status, OkStaysOk) { EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok()); }

TEST(Status, CodeAndMessageTravelTwice) {
  const absl::Status status = absl::AbortedError("somebody else writes");
  const grpc::Status wire = ToGrpcStatus(status);
  EXPECT_EQ(wire.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(wire.error_message(), "somebody else writes");
  EXPECT_EQ(Details(status).code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Details(status).message(), "somebody else writes");
  const auto info = Find<google::rpc::ErrorInfo>(Details(status));
  EXPECT_EQ(info.domain(), "octet");
  EXPECT_EQ(info.reason(), "ABORTED");
}

TEST(Status, AFieldPathBecomesAFieldViolation) {
  const auto details =
      Details(FieldViolation("tokens.ids[3]", "is not below 30"));
  const auto bad = Find<google::rpc::BadRequest>(details);
  ASSERT_EQ(bad.field_violations_size(), 1);
  EXPECT_EQ(bad.field_violations(0).field(), "tokens.ids[3]");
  EXPECT_EQ(bad.field_violations(0).description(), "is not below 30");
  EXPECT_EQ(details.message(), "tokens.ids[3]: is not below 30");
}

TEST(Status, ASentenceWithAColonIsNoField) {
  const auto details = Details(
      absl::InvalidArgumentError("tensor 'a' is wrong: it has no shape"));
  EXPECT_EQ(Find<google::rpc::BadRequest>(details).field_violations_size(), 0);
}

TEST(Status, NestedFieldsAreJoined) {
  EXPECT_EQ(InsideField("batches[7]", FieldViolation("tokens.ids[3]", "bad"))
                .message(),
            "batches[7].tokens.ids[3]: bad");
  EXPECT_EQ(
      InsideField("batches[7]", absl::NotFoundError("no such layer")).message(),
      "batches[7]: no such layer");
  EXPECT_TRUE(InsideField("batches[7]", absl::OkStatus()).ok());
}

TEST(Status, NotFoundNamesTheResource) {
  const auto resource = Find<google::rpc::ResourceInfo>(
      Details(absl::NotFoundError("checkpoint 'x' does not exist")));
  EXPECT_EQ(resource.resource_type(), "checkpoint");
  EXPECT_EQ(resource.resource_name(), "checkpoints/x");
}

TEST(Status, OverloadSaysWhenToRetry) {
  const auto details = Details(RetryAfter(
      absl::Milliseconds(1500), absl::ResourceExhaustedError("queue full")));
  const auto retry = Find<google::rpc::RetryInfo>(details);
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
  EXPECT_EQ(Find<google::rpc::ErrorInfo>(details).reason(), "OVERLOADED");
}

TEST(Status, ALimitIsNoReasonToRetry) {
  const auto details = Details(absl::ResourceExhaustedError("too large"));
  EXPECT_FALSE(Find<google::rpc::RetryInfo>(details).has_retry_delay());
}

TEST(Status, HostileTextFitsTheTrailers) {
  const std::string hostile(100'000, '\xff');
  const grpc::Status wire = ToGrpcStatus(FieldViolation("name", hostile));
  EXPECT_LT(wire.error_message().size() + wire.error_details().size(), 6000);
  EXPECT_EQ(wire.error_message().find('\xff'), std::string::npos);
}

TEST(Status, RunningOutOfMemoryIsAnAnswer) {
  EXPECT_TRUE(absl::IsResourceExhausted(
      Guarded([]() -> absl::Status { throw std::bad_alloc(); })));
  EXPECT_TRUE(absl::IsResourceExhausted(
      GuardedValue([]() -> int { throw std::bad_alloc(); }).status()));
  EXPECT_TRUE(
      absl::IsInternal(GuardedValue([]() -> int { throw 3; }).status()));
  EXPECT_EQ(*GuardedValue([] { return 3; }), 3);
}

}  // namespace
}  // namespace octet::rpc
