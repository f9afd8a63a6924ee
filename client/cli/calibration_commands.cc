#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/cli/calibration_summary.h"
#include "client/cli/capture_command.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/inputs.h"
#include "client/lib/calibration_files.h"
#include "client/lib/calibrations.h"
#include "client/lib/status_macros.h"

namespace octet::cli {
namespace {

struct CalibrationArguments {
  std::string id;
  std::string checkpoint;
  std::string file;
  std::string layer;
  size_t batch_size = 32;
  int64_t kept_rows = 0;
  int64_t kept_samples = 0;
  uint64_t seed = 0;
  bool calibrators = false;
  std::vector<std::string> from;
};

// "min_max", as it is said in a quantization.
std::string NameOf(v1::Calibrator calibrator) {
  constexpr absl::string_view kPrefix = "CALIBRATOR_";
  return absl::AsciiStrToLower(
      absl::StripPrefix(v1::Calibrator_Name(calibrator), kPrefix));
}

// One row for layers that share an input.
void ShowChoices(Session& session, const v1::Calibration& calibration) {
  Table table({{"LAYER", Align::kLeft, /*shrinks=*/true},
               {"CALIBRATOR", Align::kLeft},
               {"MIN", Align::kRight},
               {"MAX", Align::kRight},
               {"CLIPPED", Align::kRight},
               {"SQNR dB", Align::kRight}});
  for (const auto& layer : calibration.layers()) {
    if (layer.input() != layer.layer()) continue;
    for (const v1::CalibratorChoice& choice : layer.choices()) {
      table.AddRow({layer.layer(), NameOf(choice.calibrator()),
                    absl::StrFormat("%.3g", choice.min()),
                    absl::StrFormat("%.3g", choice.max()),
                    absl::StrFormat("%.3f%%", 100.0 * choice.clipped_share()),
                    absl::StrFormat("%.1f", choice.sqnr_db())});
    }
  }
  session.Print("\n");
  session.Print(table);
}

void ShowCalibration(Session& session, const v1::Calibration& calibration,
                     bool calibrators) {
  ShowSummary(session, calibration);
  if (calibrators) return ShowChoices(session, calibration);
  Table table({{"LAYER", Align::kLeft, /*shrinks=*/true},
               {"ROWS", Align::kRight},
               {"MIN", Align::kRight},
               {"MAX", Align::kRight},
               {"SIGMA", Align::kRight},
               {"OUTLIERS", Align::kRight},
               {"INACTIVE", Align::kRight},
               {"MOST EXTREME", Align::kLeft, true, /*optional=*/true}});
  for (const auto& layer : calibration.layers()) {
    const std::string columns = absl::StrJoin(
        layer.outliers().begin(),
        layer.outliers().begin() + std::min(3, layer.outliers_size()), ", ",
        [](std::string* out, const v1::OutlierFeature& feature) {
          absl::StrAppendFormat(out, "%d (%.1f)", feature.column(),
                                feature.absmax());
        });
    table.AddRow({layer.layer(), FormatCount(layer.row_count()),
                  absl::StrFormat("%.3g", layer.min()),
                  absl::StrFormat("%.3g", layer.max()),
                  absl::StrFormat("%.3g", layer.sigma()),
                  absl::StrCat(layer.outlier_count()),
                  absl::StrCat(layer.inactive_channel_count()), columns});
  }
  session.Print("\n");
  session.Print(table);
}

void ShowList(Session& session, const v1::ListCalibrationsResponse& list) {
  Table table({{"CALIBRATION", Align::kLeft, true},
               {"CHECKPOINT", Align::kLeft, true},
               {"SAMPLES", Align::kRight},
               {"BATCHES", Align::kRight},
               {"WARNINGS", Align::kRight},
               {"CREATED", Align::kLeft, false, true}});
  for (const auto& calibration : list.calibrations()) {
    table.AddRow({calibration.name(), calibration.checkpoint(),
                  absl::StrCat(calibration.sample_count()),
                  absl::StrCat(calibration.batch_count()),
                  absl::StrCat(calibration.warnings_size()),
                  FormatTime(calibration.create_time())});
  }
  session.Print(table);
}

// One batch of the file as a message of the stream.
absl::StatusOr<std::optional<v1::UploadCalibrationBatchesRequest>> NextBatch(
    InputReader& reader, const CalibrationArguments& arguments) {
  ASSIGN_OR_RETURN(std::optional<v1::ModelInputs> inputs,
                   reader.Next(arguments.batch_size));
  if (!inputs.has_value()) return std::nullopt;
  v1::UploadCalibrationBatchesRequest request;
  if (arguments.layer.empty()) {
    *request.mutable_inputs() = *std::move(inputs);
  } else if (inputs->has_features()) {
    request.mutable_activations()->set_layer(arguments.layer);
    *request.mutable_activations()->mutable_rows() =
        std::move(*inputs->mutable_features());
  } else {
    return absl::InvalidArgumentError(
        "--layer takes activations from an .npy file, not token ids");
  }
  return request;
}

// Batches count as they come: who mends the file and sends it again would count
// them twice.
absl::Status AfterBatches(int64_t batches,
                          const CalibrationArguments& arguments,
                          const absl::Status& status) {
  if (batches == 0) return status;
  absl::Status result(
      status.code(),
      absl::StrCat(status.message(), ". What came before it, of ", batches,
                   " batches, stays in calibration '", arguments.id,
                   "': delete and create it again before another upload"));
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    result.SetPayload(type, payload);
  });
  return result;
}

absl::Status Upload(Session& session, const CalibrationArguments& arguments) {
  ASSIGN_OR_RETURN(const auto reader, InputReader::Open(arguments.file, [&] {
                     return session.interrupted();
                   }));
  // Looked at before the server is: it would not know which file.
  ASSIGN_OR_RETURN(auto first, NextBatch(*reader, arguments));
  if (!first.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no samples in ", arguments.file));
  }
  absl::StatusOr<v1::UploadCalibrationBatchesResponse> response;
  int64_t sent = 0;
  {
    Progress progress = session.StartProgress("batches", Unit::kSteps);
    response = client::UploadCalibrationBatches(
        session.connection(), arguments.id,
        [&]() -> decltype(NextBatch(*reader, arguments)) {
          if (first.has_value()) return std::exchange(first, std::nullopt);
          return NextBatch(*reader, arguments);
        },
        [&](int64_t done, int64_t total) {
          sent = done;
          progress.Update(done, total);
        });
  }
  if (!response.ok()) return AfterBatches(sent, arguments, response.status());
  return session.Show(
      response, [&](const v1::UploadCalibrationBatchesResponse& added) {
        session.Print(absl::StrFormat("added %d samples in %d batches\n",
                                      added.accepted_samples(),
                                      added.accepted_batches()));
        ShowSummary(session, added.calibration());
      });
}

absl::StatusOr<v1::Calibration> Create(Session& session,
                                       const CalibrationArguments& arguments) {
  v1::CalibrationOptions options;
  options.set_kept_rows(arguments.kept_rows);
  options.set_kept_samples(arguments.kept_samples);
  options.set_seed(arguments.seed);
  return client::CreateCalibration(session.connection(), arguments.id,
                                   arguments.checkpoint, options);
}

void AddCreate(CLI::App* group, Session& session,
               const std::shared_ptr<CalibrationArguments>& arguments) {
  CLI::App* create = group->add_subcommand("create", "Start one");
  create->add_option("ID", arguments->id, "1-63 characters of [a-z0-9-]")
      ->required();
  create->add_option("--checkpoint", arguments->checkpoint)->required();
  create
      ->add_option("--kept-rows", arguments->kept_rows,
                   "Rows of each linear input to keep; 0: the server's default")
      ->check(CLI::NonNegativeNumber);
  create
      ->add_option("--kept-samples", arguments->kept_samples,
                   "Whole samples to keep; 0: the server's default")
      ->check(CLI::NonNegativeNumber);
  create->add_option("--seed", arguments->seed,
                     "Decides which are kept; equal where calibrations will "
                     "be merged");
  create->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Show(Create(s, *arguments),
                    [&](const auto& c) { ShowSummary(s, c); });
    });
  });
}

void AddBatches(CLI::App* group, Session& session,
                const std::shared_ptr<CalibrationArguments>& arguments) {
  CLI::App* upload = group->add_subcommand(
      "upload",
      "Stream samples: token ids, a line {\"ids\": [101, 7592, 102]} each, or "
      "rows of an .npy file (2-D float32)");
  upload->add_option("ID", arguments->id)->required();
  upload->add_option("FILE", arguments->file, "- reads lines from stdin")
      ->required();
  upload->add_option("--layer", arguments->layer,
                     "The .npy rows are inputs of this linear layer, not of "
                     "the model");
  upload
      ->add_option("--batch-size", arguments->batch_size,
                   "Sequences or rows per message")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  upload->callback([=, &session] {
    session.Choose([=](Session& s) { return Upload(s, *arguments); });
  });
}

absl::Status Export(Session& session, const CalibrationArguments& arguments) {
  {
    Progress progress = session.StartProgress("exporting", Unit::kBytes);
    RETURN_IF_ERROR(client::DownloadCalibration(
        session.connection(), arguments.id, arguments.file,
        [&](int64_t done, int64_t total) { progress.Update(done, total); }));
  }
  return session.Done(absl::OkStatus(), absl::StrCat("wrote ", arguments.file));
}

absl::Status Import(Session& session, const CalibrationArguments& arguments) {
  absl::StatusOr<v1::Calibration> calibration;
  {
    Progress progress = session.StartProgress("importing", Unit::kBytes);
    calibration = client::UploadCalibration(
        session.connection(), arguments.file, arguments.id,
        arguments.checkpoint,
        [&](int64_t done, int64_t total) { progress.Update(done, total); });
  }
  return session.Show(calibration,
                      [&](const auto& c) { ShowSummary(session, c); });
}

void AddTransfers(CLI::App* group, Session& session,
                  const std::shared_ptr<CalibrationArguments>& arguments) {
  CLI::App* save = group->add_subcommand(
      "export", "Save one as a file, to be imported by another server");
  save->add_option("ID", arguments->id)->required();
  save->add_option("TARGET", arguments->file)->required();
  save->callback([=, &session] {
    session.Choose([=](Session& s) { return Export(s, *arguments); });
  });

  CLI::App* bring = group->add_subcommand(
      "import", "Bring a file that export wrote, made with the same weights");
  bring->add_option("SOURCE", arguments->file)
      ->required()
      ->check(CLI::ExistingFile);
  bring->add_option("ID", arguments->id, "1-63 characters of [a-z0-9-]")
      ->required();
  bring->add_option("--checkpoint", arguments->checkpoint)->required();
  bring->callback([=, &session] {
    session.Choose([=](Session& s) { return Import(s, *arguments); });
  });
}

void AddMergeAndRest(CLI::App* group, Session& session,
                     const std::shared_ptr<CalibrationArguments>& arguments) {
  CLI::App* get = group->add_subcommand(
      "get", "Counts, ranges and outlier features of one");
  get->add_option("ID", arguments->id)->required();
  get->add_flag("--calibrators", arguments->calibrators,
                "What each calibrator would choose as range of static codes");
  get->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Show(client::GetCalibration(s.connection(), arguments->id),
                    [&](const auto& c) {
                      ShowCalibration(s, c, arguments->calibrators);
                    });
    });
  });

  CLI::App* merge = group->add_subcommand(
      "merge", "Add the statistics of others to the first");
  merge->add_option("INTO", arguments->id)->required();
  merge->add_option("FROM", arguments->from)->required()->expected(1, -1);
  merge->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Show(client::MergeCalibrations(s.connection(), arguments->id,
                                              arguments->from),
                    [&](const auto& c) { ShowSummary(s, c); });
    });
  });

  group->add_subcommand("list", "All of them")->callback([&session] {
    session.Choose([](Session& s) {
      return s.Show(client::ListCalibrations(s.connection()),
                    [&](const auto& list) { ShowList(s, list); });
    });
  });

  CLI::App* remove = group->add_subcommand("delete", "Delete one");
  remove->add_option("ID", arguments->id)->required();
  remove->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Done(client::DeleteCalibration(s.connection(), arguments->id),
                    absl::StrCat("deleted ", arguments->id));
    });
  });
}

}  // namespace

void AddCalibrationCommands(CLI::App& app, Session& session) {
  CLI::App* group = app.add_subcommand(
      "calibration", "Calibrations: what activations look like on real data");
  group->require_subcommand(1);
  auto arguments = std::make_shared<CalibrationArguments>();
  AddCreate(group, session, arguments);
  AddBatches(group, session, arguments);
  AddCaptureCommand(group, session);
  AddTransfers(group, session, arguments);
  AddMergeAndRest(group, session, arguments);
}

}  // namespace octet::cli
