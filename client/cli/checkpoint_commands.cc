#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/lib/checkpoints.h"

namespace octet::cli {
namespace {

struct CheckpointArguments {
  std::string id;
  std::string directory;
};

int64_t TotalBytes(const v1::Checkpoint& checkpoint) {
  int64_t bytes = 0;
  for (const auto& file : checkpoint.files()) bytes += file.size_bytes();
  return bytes;
}

std::string StateOf(const v1::Checkpoint& checkpoint) {
  if (checkpoint.state() == v1::Checkpoint::STATE_ACTIVE) return "active";
  if (checkpoint.state() == v1::Checkpoint::STATE_UNREADABLE) {
    return "unreadable";
  }
  int64_t received = 0;
  for (const auto& file : checkpoint.files()) received += file.received_bytes();
  const int64_t total = TotalBytes(checkpoint);
  return absl::StrFormat("uploading %d%%",
                         total > 0 ? 100 * received / total : 0);
}

void ShowSummary(Session& session, const v1::Checkpoint& checkpoint) {
  session.Print(absl::StrFormat(
      "%s is %s: %s, %d linear layers, %s parameters, %s in %d files\n",
      checkpoint.name(), StateOf(checkpoint),
      checkpoint.family().empty() ? "family not known yet"
                                  : checkpoint.family(),
      checkpoint.layers_size(), FormatCount(checkpoint.parameter_count()),
      FormatBytes(TotalBytes(checkpoint), session.exact()),
      checkpoint.files_size()));
}

void ShowCheckpoint(Session& session, const v1::Checkpoint& checkpoint) {
  ShowSummary(session, checkpoint);
  Table files({{"FILE", Align::kLeft, /*shrinks=*/true},
               {"SIZE", Align::kRight},
               {"RECEIVED", Align::kRight},
               {"SHA-256", Align::kLeft, true, /*optional=*/true}});
  for (const auto& file : checkpoint.files()) {
    files.AddRow({file.path(), FormatBytes(file.size_bytes(), session.exact()),
                  FormatBytes(file.received_bytes(), session.exact()),
                  file.sha256()});
  }
  session.Print("\n");
  session.Print(files);
  if (checkpoint.layers().empty()) return;
  Table layers({{"LAYER", Align::kLeft, true},
                {"OUT", Align::kRight},
                {"IN", Align::kRight}});
  for (const auto& layer : checkpoint.layers()) {
    layers.AddRow({layer.name(), absl::StrCat(layer.out_features()),
                   absl::StrCat(layer.in_features())});
  }
  session.Print("\n");
  session.Print(layers);
}

void ShowList(Session& session, const v1::ListCheckpointsResponse& list) {
  Table table({{"CHECKPOINT", Align::kLeft, true},
               {"STATE"},
               {"FAMILY"},
               {"LAYERS", Align::kRight},
               {"PARAMETERS", Align::kRight},
               {"SIZE", Align::kRight},
               {"CREATED", Align::kLeft, false, true}});
  for (const auto& checkpoint : list.checkpoints()) {
    table.AddRow({checkpoint.name(), StateOf(checkpoint), checkpoint.family(),
                  absl::StrCat(checkpoint.layers_size()),
                  FormatCount(checkpoint.parameter_count()),
                  FormatBytes(TotalBytes(checkpoint), session.exact()),
                  FormatTime(checkpoint.create_time())});
  }
  session.Print(table);
  for (const auto& checkpoint : list.checkpoints()) {
    if (checkpoint.problem().empty()) continue;
    session.Print(absl::StrCat("\n", checkpoint.name(), " can not be read: ",
                               checkpoint.problem(), "\n"));
  }
}

absl::Status Upload(Session& session, const CheckpointArguments& arguments) {
  absl::StatusOr<v1::Checkpoint> uploaded;
  {
    Progress hashing = session.StartProgress("hashing", Unit::kBytes);
    Progress progress = session.StartProgress("uploading", Unit::kBytes);
    client::UploadOptions options;
    options.hashing = [&](int64_t done, int64_t total) {
      hashing.Update(done, total);
    };
    options.progress = [&](int64_t done, int64_t total) {
      progress.Update(done, total);
    };
    uploaded = client::UploadCheckpoint(
        session.connection(), arguments.directory, arguments.id, options);
  }
  return session.Show(uploaded, [&](const v1::Checkpoint& checkpoint) {
    ShowSummary(session, checkpoint);
  });
}

}  // namespace

void AddCheckpointCommands(CLI::App& app, Session& session) {
  CLI::App* group =
      app.add_subcommand("checkpoint", "Float checkpoints: what to quantize");
  group->require_subcommand(1);
  auto arguments = std::make_shared<CheckpointArguments>();

  CLI::App* upload = group->add_subcommand(
      "upload",
      "Upload a directory with *.safetensors, *.json and *.txt; resumes where "
      "an interrupted upload of the same files ended");
  upload->add_option("DIRECTORY", arguments->directory)
      ->required()
      ->check(CLI::ExistingDirectory);
  upload->add_option("ID", arguments->id, "1-63 characters of [a-z0-9-]")
      ->required();
  upload->callback([=, &session] {
    session.Choose([=](Session& s) { return Upload(s, *arguments); });
  });

  CLI::App* get = group->add_subcommand("get", "Files and layers of one");
  get->add_option("ID", arguments->id)->required();
  get->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Show(client::GetCheckpoint(s.connection(), arguments->id),
                    [&](const auto& c) { ShowCheckpoint(s, c); });
    });
  });

  group->add_subcommand("list", "All of them")->callback([&session] {
    session.Choose([](Session& s) {
      return s.Show(client::ListCheckpoints(s.connection()),
                    [&](const auto& list) { ShowList(s, list); });
    });
  });

  CLI::App* remove =
      group->add_subcommand("delete", "Delete one, or abandon its upload");
  remove->add_option("ID", arguments->id)->required();
  remove->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Done(client::DeleteCheckpoint(s.connection(), arguments->id),
                    absl::StrCat("deleted ", arguments->id));
    });
  });
}

}  // namespace octet::cli
