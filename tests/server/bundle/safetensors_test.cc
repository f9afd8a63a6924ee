#include "server/bundle/safetensors.h"

#include "tests/server/bundle/support.h"

namespace octet::bundle {
namespace {

using absl::StatusCode;
using model::DataType;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr StatusCode kBad = StatusCode::kInvalidArgument;

std::string Float(std::string_view name, std::string_view rest) {
  return std::string("\"")
      .append(name)
      .append("\":{\"dtype\":\"F32\",")
      .append(rest)
      .append("}");
}

struct HostileCase {
  const char* name;
  std::string file;
  const char* message;
};

std::vector<HostileCase> HostileCases() {
  const std::string eight(8, '\0');
  const auto with = [&](const std::string& header) {
    return SafetensorsFile(header, eight);
  };
  const std::string good =
      R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  std::string deep = R"({"a":)";
  deep.append(100'000, '[').append(100'000, ']').append("}");
  return {
      {"empty", "", "0 bytes"},
      {"shorter than a length", "1234567", "7 bytes"},
      {"length over 100 MB", std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}"),
       "length"},
      {"length past the end",
       SafetensorsFile("{" + good + "}", eight).substr(0, 20), "truncated"},
      {"no header", SafetensorsFile("", ""), "begin with '{'"},
      {"space first", with(" {" + good + "}"), "begin with '{'"},
      {"not an object", with("[1]"), "begin with '{'"},
      {"not JSON", with("{\"a\""), "not JSON"},
      {"two documents", with("{" + good + "}{}"), "not JSON"},
      {"not UTF-8", with("{\"\xff\":{}}"), "not JSON"},
      {"deep nesting", with(deep), "an object is expected"},
      {"object in an entry",
       with(R"({"a":{"dtype":"F32","shape":{"x":1},"data_offsets":[0,8]}})"),
       "tensor 'a': shape"},
      {"arrays in a shape",
       with(R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})"),
       "shape can not hold an array"},
      {"entry is a number", with(R"({"a":7})"), "tensor 'a'"},
      {"entry is null", with(R"({"a":null})"), "tensor 'a'"},
      {"duplicate tensor", with("{" + good + "," + good + "}"),
       "tensor 'a': it occurs twice"},
      {"duplicate field",
       with(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],)"
            R"("data_offsets":[0,8]}})"),
       "dtype occurs twice"},
      {"unknown field",
       with("{" + Float("a", R"("shape":[2],"data_offsets":[0,8],"x":1)") +
            "}"),
       "unknown field 'x'"},
      {"missing field", with("{" + Float("a", R"("shape":[2])") + "}"),
       "missing"},
      {"empty name", with("{" + Float("", R"("shape":[2])") + "}"),
       "empty name"},
      {"long name",
       with("{" + Float(std::string(1025, 'n'), R"("shape":[2])") + "}"),
       "1025 bytes"},
      {"unknown dtype",
       with(R"({"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})"),
       "tensor 'a': the dtype 'F8_E4M3'"},
      {"dtype is a number",
       with(R"({"a":{"dtype":7,"shape":[8],"data_offsets":[0,8]}})"),
       "dtype can not hold a number"},
      {"negative shape",
       with("{" + Float("a", R"("shape":[-2],"data_offsets":[0,8])") + "}"),
       "a negative number"},
      {"fractional shape",
       with("{" + Float("a", R"("shape":[2.0],"data_offsets":[0,8])") + "}"),
       "no integer"},
      {"text in a shape",
       with("{" + Float("a", R"("shape":["2"],"data_offsets":[0,8])") + "}"),
       "shape can not hold"},
      {"extent over int64",
       with(
           "{" +
           Float("a", R"("shape":[9223372036854775808],"data_offsets":[0,8])") +
           "}"),
       "too large"},
      {"number beyond doubles",
       with("{" + Float("a", R"("shape":[1e999],"data_offsets":[0,8])") + "}"),
       "not JSON"},
      {"product overflows",
       with("{" +
            Float("a",
                  R"("shape":[4294967296,4294967296],"data_offsets":[0,8])") +
            "}"),
       "overflows"},
      {"product overflows before a zero",
       with("{" +
            Float("a", R"("shape":[4611686018427387904,8,0],)"
                       R"("data_offsets":[0,0])") +
            "}"),
       "overflows"},
      {"17 dimensions",
       with("{" +
            Float("a", R"("shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2],)"
                       R"("data_offsets":[0,8])") +
            "}"),
       "dimensions"},
      {"negative offset",
       with("{" + Float("a", R"("shape":[2],"data_offsets":[-8,0])") + "}"),
       "a negative number"},
      {"backwards",
       with("{" + Float("a", R"("shape":[2],"data_offsets":[8,0])") + "}"),
       "backwards"},
      {"one offset",
       with("{" + Float("a", R"("shape":[2],"data_offsets":[8])") + "}"),
       "[begin, end]"},
      {"three offsets",
       with("{" + Float("a", R"("shape":[2],"data_offsets":[0,8,8])") + "}"),
       "[begin, end]"},
      {"past the data",
       with("{" + Float("a", R"("shape":[4],"data_offsets":[0,16])") + "}"),
       "beyond the 8 bytes"},
      {"offsets and shape differ",
       with("{" + Float("a", R"("shape":[1],"data_offsets":[0,8])") + "}"),
       "F32 [1] takes 4 bytes; data_offsets hold 8"},
      {"overlap",
       with("{" + Float("a", R"("shape":[2],"data_offsets":[0,8])") + "," +
            Float("b", R"("shape":[1],"data_offsets":[4,8])") + "}"),
       "tensor 'b': data_offsets begin at 4 and overlap"},
      {"same bytes twice",
       with("{" + Float("a", R"("shape":[2],"data_offsets":[0,8])") + "," +
            Float("b", R"("shape":[2],"data_offsets":[0,8])") + "}"),
       "tensor 'b': data_offsets begin at 0 and overlap"},
      {"hole in front",
       with("{" + Float("a", R"("shape":[1],"data_offsets":[4,8])") + "}"),
       "leave a hole after 0"},
      {"bytes that belong to none",
       with("{" + Float("a", R"("shape":[1],"data_offsets":[0,4])") + "}"),
       "4 bytes after the last tensor"},
      {"metadata is a string", with(R"({"__metadata__":"x"})"), "tensor"},
      {"metadata value is a number",
       with(R"({"__metadata__":{"k":1},)" + good + "}"),
       "metadata 'k' must be a string"},
      {"metadata value is an object",
       with(R"({"__metadata__":{"k":{}},)" + good + "}"),
       "metadata 'k' must be a string"},
      {"metadata key twice",
       with(R"({"__metadata__":{"k":"","k":""},)" + good + "}"),
       "metadata key 'k' occurs twice"},
      {"metadata twice",
       with(R"({"__metadata__":{},"__metadata__":{},)" + good + "}"),
       "'__metadata__' occurs twice"},
  };
}

TEST(Safetensors, RefusesHostileFilesAndSaysWhy) {
  for (const HostileCase& hostile : HostileCases()) {
    SCOPED_TRACE(hostile.name);
    EXPECT_THAT(Safetensors::Parse(Bytes(hostile.file)),
                Fails(kBad, hostile.message));
  }
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string file = SafetensorsFile(
      "{" + Float("a", R"("shape":[2],"data_offsets":[0,8])") + "}",
      "12345678");
  ASSERT_THAT(Safetensors::Parse(Bytes(file)), IsOk());
  for (size_t size = 0; size < file.size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_THAT(Safetensors::Parse(Bytes(file.substr(0, size))),
                Fails(kBad, ""));
  }
}

TEST(Safetensors, ReadsScalarsEmptyTensorsAndMetadata) {
  const std::string file = SafetensorsFile(
      R"({"__metadata__":{"format":"pt"},)"
      R"("scalar":{"dtype":"I8","shape":[],"data_offsets":[0,1]},)"
      R"("none":{"dtype":"F32","shape":[0,5],"data_offsets":[1,1]},)"
      R"("odd":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}  )",
      "abcde");
  const auto parsed = Safetensors::Parse(Bytes(file));
  ASSERT_THAT(parsed, IsOk());
  EXPECT_THAT((*parsed)->Names(), ElementsAre("none", "odd", "scalar"));
  EXPECT_THAT((*parsed)->metadata(),
              ElementsAre(testing::Pair("format", "pt")));
  EXPECT_THAT((*parsed)->Find("none")->bytes, IsEmpty());
  EXPECT_EQ((*parsed)->Find("scalar")->elements(), 1);
  EXPECT_THAT((*parsed)->Find("x"), Fails(StatusCode::kNotFound, "'x'"));
}

TEST(Safetensors, AnUnalignedTensorIsReadCorrectly) {
  const float value = 1.25F;
  std::string data(5, 'x');
  std::memcpy(data.data() + 1, &value, sizeof(value));
  const std::string file = SafetensorsFile(
      R"({"i":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},)"
      R"("f":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
      data);
  const auto parsed = Safetensors::Parse(Bytes(file));
  ASSERT_THAT(parsed, IsOk());
  EXPECT_THAT(model::ToFloat(*(*parsed)->Find("f")).value(),
              ElementsAre(1.25F));
}

TEST(SafetensorsWriter, WhatIsWrittenIsRead) {
  const TempDir dir;
  auto writer = SafetensorsWriter::Create(
      dir / "model.safetensors",
      {{"w", DataType::kI8, {2, 3}}, {"s", DataType::kF32, {2, 1}}},
      {{"made by", "a \"test\""}});
  ASSERT_THAT(writer, IsOk());
  EXPECT_THAT((*writer)->Append("w", Bytes("abcdef")), IsOk());
  EXPECT_THAT((*writer)->Append("s", Bytes("12345678")), IsOk());
  EXPECT_THAT((*writer)->Finish(), IsOk());

  const std::string file = ReadFile(dir / "model.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  EXPECT_EQ(length % 8, 0) << "the data section must be aligned";
  const auto parsed = Safetensors::Parse(Bytes(file));
  ASSERT_THAT(parsed, IsOk());
  EXPECT_THAT((*parsed)->metadata(),
              ElementsAre(testing::Pair("made by", "a \"test\"")));

  const auto opened = OpenSafetensors(dir.path());
  ASSERT_THAT(opened, IsOk());
  const auto weight = (*opened)->Find("w");
  ASSERT_THAT(weight, IsOk());
  EXPECT_EQ(weight->type, DataType::kI8);
  EXPECT_THAT(weight->shape, ElementsAre(2, 3));
  EXPECT_EQ(std::memcmp(weight->bytes.data(), "abcdef", 6), 0);
}

TEST(SafetensorsWriter, RefusesWhatWasNotDeclared) {
  const TempDir dir;
  const auto create = [&](std::vector<TensorInfo> tensors) {
    return SafetensorsWriter::Create(dir / "x", std::move(tensors), {});
  };
  EXPECT_THAT(create({{"a", DataType::kF32, {1}}, {"a", DataType::kF32, {1}}}),
              Fails(kBad, "declared twice"));
  EXPECT_THAT(create({{"__metadata__", DataType::kF32, {1}}}),
              Fails(kBad, "__metadata__"));
  EXPECT_THAT(create({{"", DataType::kF32, {1}}}), Fails(kBad, "name"));
  EXPECT_THAT(create({{"\xff", DataType::kF32, {1}}}), Fails(kBad, "UTF-8"));
  EXPECT_THAT(create({{"a", DataType::kF32, {-1}}}), Fails(kBad, "negative"));

  auto writer =
      create({{"a", DataType::kF32, {1}}, {"b", DataType::kF32, {1}}});
  ASSERT_THAT(writer, IsOk());
  EXPECT_THAT((*writer)->Append("b", Bytes("1234")),
              Fails(kBad, "'a' is next"));
  EXPECT_THAT((*writer)->Append("a", Bytes("12345")), Fails(kBad, "4 bytes"));
  EXPECT_THAT((*writer)->Append("a", Bytes("123")), IsOk());
  EXPECT_THAT((*writer)->Append("b", Bytes("1234")),
              Fails(kBad, "'a' is next"));
  EXPECT_THAT((*writer)->Append("a", Bytes("45")), Fails(kBad, "4 bytes"));
  EXPECT_THAT((*writer)->Append("a", Bytes("4")), IsOk());
  EXPECT_THAT((*writer)->Finish(), Fails(kBad, "'b' did not come"));
  EXPECT_THAT((*writer)->Append("b", Bytes("1234")), IsOk());
  EXPECT_THAT((*writer)->Append("c", Bytes("")), Fails(kBad, "no tensor"));
  EXPECT_THAT((*writer)->Finish(), IsOk());
}

// One shard of one F32 tensor.
std::string Shard(std::string_view name, std::string_view four_bytes) {
  return SafetensorsFile(
      "{" + Float(name, R"("shape":[1],"data_offsets":[0,4])") + "}",
      four_bytes);
}

TEST(OpenSafetensors, ReadsShards) {
  const TempDir dir;
  WriteFile(dir / "s-1.safetensors", Shard("a", "aaaa"));
  WriteFile(dir / "s-2.safetensors", Shard("b", "bbbb"));
  WriteFile(dir / "model.safetensors.index.json",
            R"({"metadata":{},"weight_map":)"
            R"({"a":"s-1.safetensors","b":"s-2.safetensors"}})");
  const auto opened = OpenSafetensors(dir.path());
  ASSERT_THAT(opened, IsOk());
  EXPECT_THAT((*opened)->Names(), ElementsAre("a", "b"));
  EXPECT_EQ(std::memcmp((*opened)->Find("b")->bytes.data(), "bbbb", 4), 0);
}

TEST(OpenSafetensors, RefusesHostileIndexes) {
  const struct {
    const char* index;
    const char* message;
  } cases[] = {
      {"[]", "weight_map"},
      {R"({"weight_map":[]})", "weight_map"},
      {R"({"weight_map":{"a":1}})", "weight_map.a"},
      {R"({"weight_map":{"a":"../s-1.safetensors"}})", "'..'"},
      {R"({"weight_map":{"a":"/etc/passwd"}})", "empty component"},
      {R"({"weight_map":{"a":"sub/s-1.safetensors"}})", "beside the index"},
      {R"({"weight_map":{"a":"config.json"}})", "beside the index"},
      {R"({"weight_map":{"a":"s-9.safetensors"}})", "does not exist"},
      {R"({"weight_map":{"z":"s-1.safetensors"}})", "lacks the tensor 'z'"},
      {R"({"weight_map":{"a":"s-1.safetensors","a":"s-1.safetensors"}})",
       "occurs twice"},
      {R"({"weight_map":{"a":"broken.safetensors"}})", "broken.safetensors: "},
  };
  for (const auto& hostile : cases) {
    SCOPED_TRACE(hostile.index);
    const TempDir dir;
    WriteFile(dir / "s-1.safetensors", Shard("a", "aaaa"));
    WriteFile(dir / "broken.safetensors", "123");
    WriteFile(dir / "model.safetensors.index.json", hostile.index);
    EXPECT_THAT(OpenSafetensors(dir.path()), Fails(kBad, hostile.message));
  }
}

TEST(OpenSafetensors, SaysWhatIsMissing) {
  const TempDir dir;
  EXPECT_THAT(OpenSafetensors(dir.path()), Fails(kBad, "neither"));
  EXPECT_THAT(OpenSafetensors(dir / "no"),
              Fails(StatusCode::kNotFound, "'no'"));
}

}  // namespace
}  // namespace octet::bundle
