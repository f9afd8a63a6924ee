// Children that write without end are killed at random moments; what they
// leave must be the old state or the new one.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <optional>
#include <random>

#include "server/bundle/atomic_file.h"
#include "server/bundle/bundle.h"
#include "server/bundle/directory_store.h"
#include "server/bundle/sha256.h"
#include "server/bundle/upload.h"
#include "tests/server/bundle/support.h"

namespace octet::bundle {
namespace {

constexpr int kRounds = 30;

// Runs `work(0)`, `work(1)`, .. in a child. It is killed at a random moment
// after a random number of them: a slow disk delays the kill with the work.
void RunAndKill(const std::function<void(int)>& work, std::mt19937& random) {
  int done[2];
  ASSERT_EQ(pipe(done), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    for (int i = 0;; ++i) {
      work(i);
      if (write(done[1], "", 1) != 1) _exit(1);
    }
  }
  close(done[1]);  // so that a child that ends by itself ends the reading too
  const auto started = std::chrono::steady_clock::now();
  auto one = started;
  char byte;
  for (int wait = random() % 4; wait > 0 && read(done[0], &byte, 1) == 1;
       --wait) {
    one = std::chrono::steady_clock::now();
  }
  const auto piece =
      std::chrono::duration_cast<std::chrono::microseconds>(one - started);
  usleep(static_cast<useconds_t>(random() % (5'000 + piece.count())));
  kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  close(done[0]);
  ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed by itself";
}

// A child's check; it has no test to report to.
void Must(const absl::Status& status) {
  if (!status.ok()) {
    fprintf(stderr, "%s\n", status.ToString().c_str());
    _exit(1);
  }
}

TEST(Crash, AnAtomicFileIsOldOrNew) {
  const TempDir dir;
  std::mt19937 random(1);
  const auto content = [](int i) {
    const std::string number = std::to_string(i);
    return number + "\n" + std::string(50'000, number.back());
  };
  WriteFile(dir / "f", content(0));
  for (int round = 0; round < kRounds; ++round) {
    RunAndKill([&](int i) { Must(WriteFileAtomically(dir / "f", content(i))); },
               random);
    const std::string found = ReadFile(dir / "f");
    EXPECT_EQ(found, content(std::stoi(found)));
  }
}

TEST(Crash, AStoreHoldsWholeBundlesOnly) {
  const TempDir dir;
  std::mt19937 random(2);
  size_t seen = 0;
  for (int round = 0; round < kRounds; ++round) {
    // Publishes and removes b0, b1, b2 in turn.
    RunAndKill(
        [&](int i) {
          auto store = DirectoryStore::Open(dir.path(), "bundle");
          Must(store.status());
          const std::string id = "b" + std::to_string(i % 3);
          if (store->Find(id).ok()) Must(store->Remove(id));
          auto staged = store->Stage(id);
          Must(staged.status());
          WriteFile(*staged / "model.safetensors",
                    SafetensorsFile("{}      ", ""));
          WriteFile(*staged / "sub/x.json", std::string(100'000, ' ') + "{}");
          Must(WriteManifest(*staged, Manifest()));
          Must(store->Publish(id));
        },
        random);
    const auto store = DirectoryStore::Open(dir.path(), "bundle");
    ASSERT_THAT(store, IsOk());
    for (const std::string& id : store->List()) {
      ++seen;
      EXPECT_THAT(OpenBundle(*store->Find(id), Verify::kDigests), IsOk());
    }
    EXPECT_TRUE(std::filesystem::is_empty(dir / ".trash"));
  }
  EXPECT_GT(seen, 0);
}

TEST(Crash, AnUploadResumesFromAnyMoment) {
  std::mt19937 random(3);
  std::string data(3'000'000, '\0');
  for (char& c : data) c = static_cast<char>(random());
  const std::vector<UploadFile> files = {{.path = "a/model.safetensors",
                                          .size_bytes = data.size(),
                                          .sha256 = *Sha256(data)}};
  const TempDir dir;
  const auto chunk = [&](Upload& upload) {
    const uint64_t at = upload.files()[0].received_bytes;
    const std::string_view piece = std::string_view(data).substr(at, 10'000);
    return upload.Append(files[0].path, at, piece, Crc32c(piece));
  };
  for (int round = 0; round < kRounds; ++round) {
    RunAndKill(
        [&, upload = std::optional<Upload>()](int) mutable {
          if (!upload.has_value()) {
            auto begun = Upload::Begin(dir.path(), files, {});
            Must(begun.status());
            upload = *std::move(begun);
          }
          if (!upload->complete()) Must(chunk(*upload));
        },
        random);
    if (!std::filesystem::exists(dir / ".upload.json")) continue;
    ASSERT_THAT(Upload::Inspect(dir.path()), IsOk());
  }
  auto upload = Upload::Begin(dir.path(), files, {});
  ASSERT_THAT(upload, IsOk());
  while (!upload->complete()) ASSERT_THAT(chunk(*upload), IsOk());
  EXPECT_THAT(upload->Verify(), IsOk());
}

}  // namespace
}  // namespace octet::bundle
