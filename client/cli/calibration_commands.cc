#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/inputs.h"
#include "client/lib/calibrations.h"
#include "client/lib/status_macros.h"

namespace octet::cli {
namespace {

struct Arguments {
  std::string id;
  std::string checkpoint;
  std::string file;
  std::string layer;
  size_t batch_size = 32;
  std::vector<std::string> from;
};

void ShowSummary(Session& session, const v1::Calibration& calibration) {
  session.Print(absl::StrFormat(
      "%s of %s: %d samples in %d batches, %d seen twice\n", calibration.name(),
      calibration.checkpoint(), calibration.sample_count(),
      calibration.batch_count(), calibration.duplicate_sample_count()));
  for (const std::string& warning : calibration.warnings()) {
    session.Print(absl::StrCat("warning: ", warning, "\n"));
  }
}

void ShowCalibration(Session& session, const v1::Calibration& calibration) {
  ShowSummary(session, calibration);
  Table table({{"LAYER", Align::kLeft, /*shrinks=*/true},
               {"ROWS", Align::kRight},
               {"MIN", Align::kRight},
               {"MAX", Align::kRight},
               {"SIGMA", Align::kRight},
               {"OUTLIERS", Align::kRight},
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
                  absl::StrCat(layer.outlier_count()), columns});
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
    InputReader& reader, const Arguments& arguments) {
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

absl::Status Upload(Session& session, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto reader, InputReader::Open(arguments.file));
  absl::StatusOr<v1::UploadCalibrationBatchesResponse> response;
  {
    Progress progress = session.StartProgress("batches", Unit::kSteps);
    response = client::UploadCalibrationBatches(
        session.connection(), arguments.id,
        [&] { return NextBatch(*reader, arguments); },
        [&](int64_t done, int64_t total) { progress.Update(done, total); });
  }
  return session.Show(
      response, [&](const v1::UploadCalibrationBatchesResponse& added) {
        session.Print(absl::StrFormat("added %d samples in %d batches\n",
                                      added.accepted_samples(),
                                      added.accepted_batches()));
        ShowSummary(session, added.calibration());
      });
}

void AddCreateAndUpload(CLI::App* group, Session& session,
                        const std::shared_ptr<Arguments>& arguments) {
  CLI::App* create = group->add_subcommand("create", "Start one");
  create->add_option("ID", arguments->id, "1-63 characters of [a-z0-9-]")
      ->required();
  create->add_option("--checkpoint", arguments->checkpoint)->required();
  create->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Show(client::CreateCalibration(s.connection(), arguments->id,
                                              arguments->checkpoint),
                    [&](const auto& c) { ShowSummary(s, c); });
    });
  });

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

void AddMergeAndRest(CLI::App* group, Session& session,
                     const std::shared_ptr<Arguments>& arguments) {
  CLI::App* get = group->add_subcommand(
      "get", "Counts, ranges and outlier features of one");
  get->add_option("ID", arguments->id)->required();
  get->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Show(client::GetCalibration(s.connection(), arguments->id),
                    [&](const auto& c) { ShowCalibration(s, c); });
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
  auto arguments = std::make_shared<Arguments>();
  AddCreateAndUpload(group, session, arguments);
  AddMergeAndRest(group, session, arguments);
}

}  // namespace octet::cli
