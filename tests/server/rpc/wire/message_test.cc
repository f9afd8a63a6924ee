// Tensors between slices and the house: nothing is lost, nothing copied twice.

#include "server/rpc/wire/message.h"

#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/rpc/wire/beside.h"

namespace octet::rpc {
namespace {

grpc::ByteBuffer Sliced(const std::string& bytes, size_t piece) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    slices.emplace_back(bytes.substr(at, piece));
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

std::string Bytes(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(slice.begin(), slice.end());
  }
  return bytes;
}

std::vector<float> Ramp(size_t size) {
  std::vector<float> values(size);
  std::iota(values.begin(), values.end(), 0.5F);
  return values;
}

std::string AsBytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()),
          values.size() * sizeof(float)};
}

TEST(WireMessage, ReceivesFieldsAndTensorHoweverSliced) {
  const std::vector<float> values = Ramp(777);
  v1::MatMulRequest request;
  request.set_model("models/m");
  request.mutable_x()->add_shape(777);
  request.mutable_x()->set_data(AsBytes(values));
  const std::string bytes = request.SerializeAsString();
  for (const size_t piece : {1, 2, 3, 8, 100, 10000}) {
    grpc::ByteBuffer buffer = Sliced(bytes, piece);
    Received<v1::MatMulRequest> received;
    ASSERT_TRUE(received.Parse(&buffer).ok());
    EXPECT_FALSE(buffer.Valid()) << "the slices are held once";
    const Received<v1::MatMulRequest> moved = std::move(received);
    EXPECT_EQ(moved.fields.model(), "models/m");
    EXPECT_TRUE(moved.fields.x().data().empty());
    EXPECT_EQ(moved.bytes.size(), bytes.size());
    std::vector<float> found(moved.bytes.tensor().size() / sizeof(float));
    moved.bytes.tensor().CopyTo(found.data());
    EXPECT_EQ(found, values) << "in slices of " << piece;
    std::vector<float> part(33);
    moved.bytes.tensor()
        .Part(700 * sizeof(float), 33 * sizeof(float))
        .CopyTo(part.data());
    EXPECT_EQ(part,
              std::vector<float>(values.begin() + 700, values.begin() + 733));
  }
}

TEST(WireMessage, NamesTheMessageThatCannotBeParsed) {
  grpc::ByteBuffer buffer = Sliced("\x0a\x7f", 1);
  Received<v1::ForwardRequest> received;
  const absl::Status status = received.Parse(&buffer);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_NE(status.ToString().find("octet.v1.ForwardRequest"),
            std::string::npos);
}

template <typename Request>
absl::Status Parsed(const std::string& bytes) {
  grpc::ByteBuffer buffer = Sliced(bytes, 1 << 20);
  return Received<Request>().Parse(&buffer);
}

std::string Repeated(const std::string& field) {
  std::string bytes;
  while (bytes.size() <= kMostBeside) bytes += field;
  return bytes;
}

std::string Nested(uint32_t field, const std::string& message) {
  std::string bytes;
  AppendVarint(TagOf(field), &bytes);
  AppendVarint(message.size(), &bytes);
  return bytes + message;
}

TEST(WireMessage, ManySmallObjectsAreRefusedBeforeTheyAreMade) {
  using Infer = inference::ModelInferRequest;
  const std::string group = "\x7b\x7c";  // an unknown one, of nothing
  for (const uint32_t field :
       {Infer::kInputsFieldNumber, Infer::kOutputsFieldNumber,
        Infer::kParametersFieldNumber, Infer::kRawInputContentsFieldNumber}) {
    const absl::Status many = Parsed<Infer>(Repeated(Nested(field, "")));
    EXPECT_TRUE(absl::IsInvalidArgument(many)) << field;
    EXPECT_NE(many.ToString().find("beside"), std::string::npos) << many;
  }
  for (const uint32_t field :
       {Infer::kInputsFieldNumber, Infer::kOutputsFieldNumber,
        Infer::kParametersFieldNumber}) {
    EXPECT_FALSE(Parsed<Infer>(Nested(field, Repeated(group))).ok()) << field;
  }
  // The contents of an input: strings, of which nothing is made.
  EXPECT_FALSE(
      Parsed<Infer>(Nested(5, Nested(5, Repeated(Nested(8, ""))))).ok());
  EXPECT_FALSE(Parsed<Infer>(Nested(5, Nested(5, Repeated(group)))).ok());
  EXPECT_FALSE(Parsed<v1::MatMulRequest>(Repeated(group)).ok());
  EXPECT_FALSE(Parsed<v1::MatMulRequest>(Nested(3, Repeated(group))).ok());
  EXPECT_FALSE(
      Parsed<v1::ForwardRequest>(Nested(2, Nested(1, Repeated(group)))).ok());
}

TEST(WireMessage, TensorsAndNumbersMayBeMany) {
  constexpr int kMany = 3 * kMostBeside;
  v1::ForwardRequest tokens;
  inference::ModelInferRequest infer;
  auto* contents = infer.add_inputs()->mutable_contents();
  for (int i = 0; i < kMany; ++i) {
    tokens.mutable_inputs()->mutable_tokens()->add_ids(i);
    contents->add_fp32_contents(1.5F);
  }
  EXPECT_TRUE(Parsed<v1::ForwardRequest>(tokens.SerializeAsString()).ok());
  infer.add_raw_input_contents(std::string(kMany, 'x'));
  EXPECT_TRUE(
      Parsed<inference::ModelInferRequest>(infer.SerializeAsString()).ok());
  // Not packed, as old clients send them.
  const std::string ids = Repeated(std::string("\x08\x07", 2));
  EXPECT_TRUE(
      Parsed<v1::ForwardRequest>(
          Nested(v1::ForwardRequest::kInputsFieldNumber, Nested(1, ids)))
          .ok());
  v1::StreamMatMulRequest x;
  x.mutable_request()->mutable_x()->set_data(std::string(kMany, 'x'));
  EXPECT_TRUE(Parsed<v1::StreamMatMulRequest>(x.SerializeAsString()).ok());
}

TEST(WireMessage, AnEmptyBufferIsTheEmptyMessage) {
  grpc::ByteBuffer buffer;
  const grpc::Slice nothing("");
  grpc::ByteBuffer empty(&nothing, 1);
  Received<v1::MatMulRequest> received;
  EXPECT_TRUE(received.Parse(&empty).ok());
  EXPECT_EQ(received.bytes.tensor().size(), 0);
}

// Of all sizes around what is copied and around what lengths take.
TEST(WireMessage, MakesWhatProtobufWouldWrite) {
  for (const size_t count : {0, 1, 20, 31, 32, 33, 1000, 1100, 5000, 600000}) {
    const std::vector<float> values = Ramp(count);
    v1::StreamMatMulResponse response;
    response.set_id("id");
    v1::MatMulResponse* answer = response.mutable_response();
    answer->mutable_y()->set_type(v1::DATA_TYPE_F32);
    answer->mutable_y()->add_shape(1);
    answer->mutable_timings()->mutable_total()->set_nanos(5);
    const grpc::Slice slice = SliceOf(std::vector<float>(values));
    const grpc::ByteBuffer made = MakeMessage(LargeField(&response), response,
                                              absl::MakeConstSpan(&slice, 1));
    answer->mutable_y()->set_data(AsBytes(values));
    if (count > 0) {
      EXPECT_EQ(Bytes(made), response.SerializeAsString());
    }
    v1::StreamMatMulResponse parsed;
    EXPECT_TRUE(parsed.ParseFromString(Bytes(made)));
    EXPECT_EQ(parsed.SerializeAsString(), response.SerializeAsString());
  }
}

TEST(WireMessage, MakesRepeatedTensors) {
  inference::ModelStreamInferResponse response;
  response.mutable_infer_response()->set_model_name("m");
  const std::vector<grpc::Slice> slices = {SliceOf(Ramp(3)), SliceOf(Ramp(0)),
                                           SliceOf(Ramp(9000))};
  const grpc::ByteBuffer made =
      MakeMessage(LargeField(&response), response, slices);
  for (const size_t size : {3, 0, 9000}) {
    response.mutable_infer_response()->add_raw_output_contents(
        AsBytes(Ramp(size)));
  }
  EXPECT_EQ(Bytes(made), response.SerializeAsString());
}

TEST(WireMessage, ALargeTensorIsNotCopied) {
  std::vector<float> values = Ramp(100000);
  const void* const memory = values.data();
  v1::MatMulResponse response;
  response.mutable_y()->add_shape(100000);
  const grpc::Slice slice = SliceOf(std::move(values));
  const grpc::ByteBuffer made = MakeMessage(LargeField(&response), response,
                                            absl::MakeConstSpan(&slice, 1));
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(made.Dump(&slices).ok());
  ASSERT_EQ(slices.size(), 2);
  EXPECT_EQ(slices[1].begin(), memory);
}

}  // namespace
}  // namespace octet::rpc
