#include "server/bundle/bundle.h"

#include "server/bundle/atomic_file.h"
#include "server/bundle/safetensors.h"
#include "server/bundle/sha256.h"
#include "tests/server/bundle/support.h"

namespace octet::bundle {
namespace {

using absl::StatusCode;

TEST(Sha256, MatchesTheStandardsExamples) {
  EXPECT_EQ(*Sha256("abc"),
            "ba7816bf8f01cfea414140de5dae2223"
            "b00361a396177a9cb410ff61f20015ad");
  const TempDir dir;
  WriteFile(dir / "million", std::string(1'000'000, 'a'));
  EXPECT_EQ(*Sha256OfFile(dir / "million"),
            "cdc76e5c9914fb9281a1c7e284d73e67"
            "f1809a48a497200e046d39ccc7112cd0");
}

TEST(WriteFileAtomically, ReplacesAndLeavesNothingAside) {
  const TempDir dir;
  ASSERT_THAT(WriteFileAtomically(dir / "f", "one"), IsOk());
  ASSERT_THAT(WriteFileAtomically(dir / "f", "two"), IsOk());
  EXPECT_EQ(ReadFile(dir / "f"), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}),
            1);
}

// A linear_set of one 2 x 3 float matrix, its digests in octet.json.
void MakeBundle(const TempDir& dir) {
  auto writer = SafetensorsWriter::Create(
      dir / "model.safetensors", {{"fc.weight", model::DataType::kF32, {2, 3}}},
      {});
  ASSERT_THAT(writer, IsOk());
  ASSERT_THAT((*writer)->Append("fc.weight", Bytes(std::string(24, '\0'))),
              IsOk());
  ASSERT_THAT((*writer)->Finish(), IsOk());
  WriteFile(dir / "config.json", R"({"model_type":"linear_set"})");
  WriteFile(dir / "sub/notes.json", "{}");
  Manifest manifest;
  manifest.family = "linear_set";
  ASSERT_THAT(WriteManifest(dir.path(), manifest), IsOk());
}

TEST(OpenBundle, ReadsWhatWasWritten) {
  const TempDir dir;
  MakeBundle(dir);
  const auto bundle = OpenBundle(dir.path(), Verify::kDigests);
  ASSERT_THAT(bundle, IsOk());
  EXPECT_EQ(bundle->manifest.files.size(), 3);
  EXPECT_TRUE(bundle->files.configs.contains("config.json"));
  EXPECT_TRUE(bundle->files.tensors->Contains("fc.weight"));
}

TEST(WriteManifest, DoesNotListWhatACrashLeft) {
  const TempDir dir;
  WriteFile(AsideOf(dir / "octet.json"), "half a manif");
  MakeBundle(dir);
  EXPECT_THAT(OpenBundle(dir.path(), Verify::kDigests), IsOk());
}

TEST(OpenBundle, NoticesEveryChange) {
  const struct {
    const char* name;
    void (*change)(const TempDir&);
    StatusCode code;
    const char* message;
  } cases[] = {
      {"missing file",
       [](const TempDir& dir) {
         std::filesystem::remove(dir / "sub/notes.json");
       },
       StatusCode::kDataLoss, "'sub/notes.json'"},
      {"file that is a link",
       [](const TempDir& dir) {
         std::filesystem::remove(dir / "sub/notes.json");
         std::filesystem::create_symlink("../config.json",
                                         dir / "sub/notes.json");
       },
       StatusCode::kDataLoss, "'sub/notes.json'"},
      {"other size",
       [](const TempDir& dir) { WriteFile(dir / "config.json", "{}"); },
       StatusCode::kDataLoss, "'config.json' has 2 bytes"},
      {"other bytes",
       [](const TempDir& dir) { WriteFile(dir / "sub/notes.json", "[]"); },
       StatusCode::kDataLoss, "SHA-256"},
      {"file nobody listed",
       [](const TempDir& dir) { WriteFile(dir / "extra", ""); },
       StatusCode::kDataLoss, "'extra' is not in octet.json"},
      {"no manifest",
       [](const TempDir& dir) { std::filesystem::remove(dir / "octet.json"); },
       StatusCode::kInvalidArgument, "octet.json"},
      {"broken manifest",
       [](const TempDir& dir) { WriteFile(dir / "octet.json", "{"); },
       StatusCode::kInvalidArgument, "octet.json"},
  };
  for (const auto& change : cases) {
    SCOPED_TRACE(change.name);
    const TempDir dir;
    MakeBundle(dir);
    change.change(dir);
    EXPECT_THAT(OpenBundle(dir.path(), Verify::kDigests),
                Fails(change.code, change.message));
  }
}

TEST(OpenBundle, SizesAloneDoNotReadTheFiles) {
  const TempDir dir;
  MakeBundle(dir);
  WriteFile(dir / "sub/notes.json", "[]");
  EXPECT_THAT(OpenBundle(dir.path(), Verify::kSizes), IsOk());
}

TEST(OpenModelFiles, ReadsWhatImportersReadAndNothingElse) {
  const TempDir dir;
  MakeBundle(dir);
  WriteFile(dir / "modules.json", "[]");
  WriteFile(dir / "1_Pooling/config.json", "{}");
  WriteFile(dir / "tokenizer.json", std::string(9 << 20, ' '));
  const auto files = OpenModelFiles(dir.path());
  ASSERT_THAT(files, IsOk());
  std::vector<std::string> paths;
  for (const auto& [path, text] : files->configs) paths.push_back(path);
  EXPECT_THAT(paths, testing::ElementsAre("1_Pooling/config.json",
                                          "config.json", "modules.json"));
}

TEST(OpenModelFiles, RefusesConfigsThatAreTooLong) {
  const TempDir dir;
  MakeBundle(dir);
  const std::string labels = R"({"model_type":"linear_set","id2label":")";
  WriteFile(dir / "config.json", labels + std::string(7 << 20, 'x') + "\"}");
  EXPECT_THAT(OpenModelFiles(dir.path()), IsOk());
  WriteFile(dir / "sub/config.json",
            labels + std::string(1 << 20, 'x') + "\"}");
  EXPECT_THAT(OpenModelFiles(dir.path()),
              Fails(StatusCode::kInvalidArgument,
                    "'sub/config.json' is too long: the configs of a model may "
                    "have 8388608 bytes in all"));
}

TEST(OpenModelFiles, RefusesConfigsThatAreDeepOrHaveAKeyTwice) {
  const std::string deep(33, '[');
  const std::pair<std::string, const char*> wrong[] = {
      {deep + std::string(33, ']'), "nested deeper than 32 levels"},
      {R"({"a":1,"a":2})", "the key 'a' occurs twice"},
      {deep, "nested deeper"},
      {"{", "not JSON"}};
  for (const char* path :
       {"config.json", "modules.json", "1_Pooling/config.json"}) {
    for (const auto& [text, problem] : wrong) {
      const TempDir dir;
      MakeBundle(dir);
      WriteFile(dir / path, text);
      EXPECT_THAT(OpenModelFiles(dir.path()),
                  Fails(StatusCode::kInvalidArgument,
                        std::string(path) + ": " + problem));
    }
  }
}

TEST(OpenCheckpoint, RefusesDirectoriesWhereABundleHasFiles) {
  for (const char* path :
       {"octet.json/a.json", "config.json/a/b", "model.safetensors/README.md",
        "model.safetensors.index.json/a",
        "model-00001-of-00002.safetensors/a"}) {
    const TempDir dir;
    MakeBundle(dir);
    std::filesystem::remove(dir / "octet.json");
    EXPECT_THAT(OpenCheckpoint(dir.path()), IsOk());
    const std::filesystem::path file = dir / path;
    const auto name = *std::filesystem::path(path).begin();
    std::filesystem::remove(dir / name.string());
    WriteFile(file, "{}");
    EXPECT_THAT(OpenCheckpoint(dir.path()),
                Fails(StatusCode::kInvalidArgument,
                      "'" + std::string(path) + "' is in a directory"));
  }
}

TEST(LoadModel, ThePlanAndTheFamilyMustFitTheGraph) {
  const TempDir dir;
  MakeBundle(dir);
  auto bundle = OpenBundle(dir.path(), Verify::kSizes);
  ASSERT_THAT(bundle, IsOk());
  EXPECT_THAT(LoadModel(*bundle), IsOk());
  bundle->manifest.plan["gone"] = {model::Scheme::kFp32, 0};
  EXPECT_THAT(LoadModel(*bundle),
              Fails(StatusCode::kInvalidArgument, "'gone'"));
  bundle->manifest.family = "bert";
  EXPECT_THAT(LoadModel(*bundle),
              Fails(StatusCode::kInvalidArgument, "family"));
}

TEST(LoadFloatModel, LoadsACheckpoint) {
  const TempDir dir;
  MakeBundle(dir);
  const auto files = OpenModelFiles(dir.path());
  ASSERT_THAT(files, IsOk());
  EXPECT_THAT(LoadFloatModel(*files), IsOk());
}

}  // namespace
}  // namespace octet::bundle
