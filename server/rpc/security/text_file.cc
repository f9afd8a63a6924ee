#include "server/rpc/security/text_file.h"

#include <sys/stat.h>

#include <fstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/model/str_cat.h"

namespace octet::rpc {
namespace {

constexpr absl::Duration kPeriod = absl::Seconds(1);
constexpr size_t kMaxBytes = size_t{1} << 20;

std::string StateOf(const std::vector<std::string>& files) {
  std::string state;
  for (const auto& file : files) {
    struct stat facts{};
    if (stat(file.c_str(), &facts) != 0) {
      state += "none;";
      continue;
    }
    state +=
        model::StrCat(facts.st_dev, ",", facts.st_ino, ",", facts.st_size, ",",
                      facts.st_mtim.tv_sec, ",", facts.st_mtim.tv_nsec, ";");
  }
  return state;
}

}  // namespace

absl::StatusOr<std::string> ReadTextFile(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text(kMaxBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in.is_open() || in.bad()) {
    return absl::NotFoundError(model::StrCat("'", file, "' cannot be read"));
  }
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kMaxBytes) {
    return absl::InvalidArgumentError(
        model::StrCat("'", file, "' is larger than 1 MiB"));
  }
  return text;
}

FileWatch::FileWatch(std::vector<std::string> files,
                     std::function<void()> changed)
    : files_(std::move(files)),
      changed_(std::move(changed)),
      seen_(StateOf(files_)),
      thread_([this] { Run(); }) {}

FileWatch::~FileWatch() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

void FileWatch::Run() {
  for (;;) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&stop_), kPeriod);
      if (stop_) return;
    }
    std::string state = StateOf(files_);
    if (state == seen_) continue;
    seen_ = std::move(state);
    changed_();
  }
}

}  // namespace octet::rpc
