#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/lib/bundles.h"
#include "client/lib/status_macros.h"

namespace octet::cli {
namespace {

struct BundleArguments {
  std::string id;
  std::string path;
  bool unpack = false;
};

int64_t TotalBytes(const v1::Bundle& bundle) {
  int64_t bytes = 0;
  for (const auto& file : bundle.files()) bytes += file.size_bytes();
  return bytes;
}

void ShowSummary(Session& session, const v1::Bundle& bundle) {
  session.Print(absl::StrFormat(
      "%s: %s from %s, %s in %d files\n", bundle.name(), bundle.family(),
      bundle.checkpoint(), FormatBytes(TotalBytes(bundle), session.exact()),
      bundle.files_size()));
  session.Print(bundle.compressed_tensors_obstacle().empty()
                    ? "config.json says it in compressed-tensors form: other "
                      "engines load it\n"
                    : absl::StrCat("no compressed-tensors form: ",
                                   bundle.compressed_tensors_obstacle(), "\n"));
}

void ShowBundle(Session& session, const v1::Bundle& bundle) {
  ShowSummary(session, bundle);
  Table files({{"FILE", Align::kLeft, /*shrinks=*/true},
               {"SIZE", Align::kRight},
               {"SHA-256", Align::kLeft, true, /*optional=*/true}});
  for (const auto& file : bundle.files()) {
    files.AddRow({file.path(), FormatBytes(file.size_bytes(), session.exact()),
                  file.sha256()});
  }
  Table layers({{"LAYER", Align::kLeft, true}, {"SCHEME"}});
  for (const auto& layer : bundle.layers()) {
    layers.AddRow({layer.layer(), SchemeName(layer.scheme())});
  }
  session.Print("\n");
  session.Print(files);
  session.Print("\n");
  session.Print(layers);
}

void ShowList(Session& session, const v1::ListBundlesResponse& list) {
  Table table({{"BUNDLE", Align::kLeft, true},
               {"FAMILY"},
               {"CHECKPOINT", Align::kLeft, true},
               {"LAYERS", Align::kRight},
               {"SIZE", Align::kRight},
               {"CREATED", Align::kLeft, false, true}});
  for (const auto& bundle : list.bundles()) {
    table.AddRow({bundle.name(), bundle.family(), bundle.checkpoint(),
                  absl::StrCat(bundle.layers_size()),
                  FormatBytes(TotalBytes(bundle), session.exact()),
                  FormatTime(bundle.create_time())});
  }
  session.Print(table);
  for (const auto& bundle : list.bundles()) {
    if (bundle.problem().empty()) continue;
    session.Print(absl::StrCat("\n", bundle.name(),
                               " can not be read: ", bundle.problem(), "\n"));
  }
}

absl::Status Download(Session& session, const BundleArguments& arguments) {
  const client::BundleForm form = arguments.unpack
                                      ? client::BundleForm::kDirectory
                                      : client::BundleForm::kTar;
  {
    Progress progress = session.StartProgress("downloading", Unit::kBytes);
    RETURN_IF_ERROR(client::DownloadBundle(
        session.connection(), arguments.id, arguments.path, form,
        [&](int64_t done, int64_t total) { progress.Update(done, total); }));
  }
  return session.Done(absl::OkStatus(), absl::StrCat("wrote ", arguments.path));
}

absl::Status Upload(Session& session, const BundleArguments& arguments) {
  absl::StatusOr<v1::Bundle> bundle;
  {
    Progress progress = session.StartProgress("uploading", Unit::kBytes);
    bundle = client::UploadBundle(
        session.connection(), arguments.path, arguments.id,
        [&](int64_t done, int64_t total) { progress.Update(done, total); });
  }
  return session.Show(bundle, [&](const auto& b) { ShowSummary(session, b); });
}

void AddTransfers(CLI::App* group, Session& session,
                  const std::shared_ptr<BundleArguments>& arguments) {
  CLI::App* download =
      group->add_subcommand("download", "Save one as a tar file");
  download->add_option("ID", arguments->id)->required();
  download->add_option("TARGET", arguments->path)->required();
  download->add_flag("--unpack", arguments->unpack,
                     "Make TARGET a directory instead");
  download->callback([=, &session] {
    session.Choose([=](Session& s) { return Download(s, *arguments); });
  });

  CLI::App* upload =
      group->add_subcommand("upload",
                            "Bring a tar file, or a directory, which is packed "
                            "in TMPDIR (/tmp) first");
  upload->add_option("SOURCE", arguments->path)
      ->required()
      ->check(CLI::ExistingPath);
  upload->add_option("ID", arguments->id, "1-63 characters of [a-z0-9-]")
      ->required();
  upload->callback([=, &session] {
    session.Choose([=](Session& s) { return Upload(s, *arguments); });
  });
}

}  // namespace

void AddBundleCommands(CLI::App& app, Session& session) {
  CLI::App* group = app.add_subcommand("bundle", "Quantized models");
  group->require_subcommand(1);
  auto arguments = std::make_shared<BundleArguments>();
  AddTransfers(group, session, arguments);

  CLI::App* get = group->add_subcommand("get", "Files and schemes of one");
  get->add_option("ID", arguments->id)->required();
  get->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Show(client::GetBundle(s.connection(), arguments->id),
                    [&](const auto& b) { ShowBundle(s, b); });
    });
  });

  AddReportCommand(*group, session);

  group->add_subcommand("list", "All of them")->callback([&session] {
    session.Choose([](Session& s) {
      return s.Show(client::ListBundles(s.connection()),
                    [&](const auto& list) { ShowList(s, list); });
    });
  });

  CLI::App* remove = group->add_subcommand("delete", "Delete one");
  remove->add_option("ID", arguments->id)->required();
  remove->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Done(client::DeleteBundle(s.connection(), arguments->id),
                    absl::StrCat("deleted ", arguments->id));
    });
  });
}

}  // namespace octet::cli
