#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/lib/models.h"

namespace octet::cli {
namespace {

struct ModelArguments {
  std::string id;
  std::string source;
  int64_t version = 0;
  std::optional<double> traffic_share;
  double shadow_rate = 0;
};

v1::LoadModelRequest LoadRequest(const ModelArguments& arguments) {
  v1::LoadModelRequest request;
  request.set_model_id(arguments.id);
  request.set_source(arguments.source);
  request.set_version(arguments.version);
  request.set_shadow_rate(arguments.shadow_rate);
  if (arguments.traffic_share) {
    request.set_traffic_share(*arguments.traffic_share);
  }
  return request;
}

// The model, or the version of it that was asked for.
std::string Name(const ModelArguments& arguments) {
  if (arguments.version == 0) return arguments.id;
  return absl::StrCat("models/", arguments.id, "/versions/", arguments.version);
}

std::string State(const v1::Model& model) {
  switch (model.state()) {
    case v1::MODEL_STATE_LOADING:
      return "loading";
    case v1::MODEL_STATE_READY:
      return "ready";
    case v1::MODEL_STATE_UNLOADING:
      return "unloading";
    case v1::MODEL_STATE_FAILED:
      return "failed";
    default:
      return "";  // a server that does not say
  }
}

std::string Isa(const v1::Model& model) {
  return model.isa().empty() ? "float" : model.isa();
}

void ShowModel(Session& session, const v1::Model& model) {
  session.Print(absl::StrFormat(
      "%s, version %d, from %s: %s, %s resident, %s\n", model.name(),
      model.version(), model.source(), model.family(),
      FormatBytes(model.resident_bytes(), session.exact()), Isa(model)));
}

void ShowLayers(Session& session, const v1::Model& model) {
  ShowModel(session, model);
  if (model.input_kind() == v1::INPUT_KIND_TOKENS) {
    session.Print(absl::StrFormat(
        "takes token ids below %d, at most %d a sequence; gives rows of %d\n",
        model.vocabulary_size(), model.max_sequence_length(),
        model.output_width()));
  } else if (model.input_kind() == v1::INPUT_KIND_FEATURES) {
    session.Print(absl::StrFormat("takes rows of %d; gives rows of %d\n",
                                  model.input_width(), model.output_width()));
  }
  Table table({{"LAYER", Align::kLeft, /*shrinks=*/true},
               {"OUT", Align::kRight},
               {"IN", Align::kRight}});
  for (const auto& layer : model.layers()) {
    table.AddRow({layer.name(), absl::StrCat(layer.out_features()),
                  absl::StrCat(layer.in_features())});
  }
  session.Print("\n");
  session.Print(table);
}

void ShowList(Session& session, const v1::ListModelsResponse& list) {
  Table table({{"MODEL", Align::kLeft, true},
               {"VERSION", Align::kRight},
               {"STATE"},
               {"SHARE", Align::kRight},
               {"SOURCE", Align::kLeft, true},
               {"FAMILY"},
               {"RESIDENT", Align::kRight},
               {"ISA"},
               {"LOADED", Align::kLeft, false, /*optional=*/true}});
  for (const auto& model : list.models()) {
    table.AddRow({model.name(), absl::StrCat(model.version()), State(model),
                  absl::StrFormat("%.4g", model.traffic_share()),
                  model.source(), model.family(),
                  FormatBytes(model.resident_bytes(), session.exact()),
                  Isa(model), FormatTime(model.load_time())});
  }
  session.Print(table);
}

void ShowStats(Session& session, const v1::ModelStats& stats) {
  session.Print(absl::StrFormat("%s: %d forwards, %d matmuls, %s rows\n",
                                stats.name(), stats.forward_count(),
                                stats.matmul_count(),
                                FormatCount(stats.row_count())));
  const double total = stats.quantize_seconds() + stats.dot_seconds() +
                       stats.dequantize_seconds() + stats.outlier_seconds();
  Table table(
      {{"PHASE"}, {"CPU TIME", Align::kRight}, {"SHARE", Align::kRight}});
  const auto row = [&](const char* name, double seconds) {
    table.AddRow(
        {name, FormatSpan(absl::Seconds(seconds)),
         total > 0 ? absl::StrFormat("%.1f%%", 100 * seconds / total) : "-"});
  };
  row("quantize", stats.quantize_seconds());
  row("dot", stats.dot_seconds());
  row("dequantize", stats.dequantize_seconds());
  row("outlier", stats.outlier_seconds());
  session.Print(table);
}

void AddReads(CLI::App* group, Session& session,
              const std::shared_ptr<ModelArguments>& arguments) {
  CLI::App* get = group->add_subcommand("get", "One, with its layers");
  get->add_option("ID", arguments->id)->required();
  get->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Show(client::GetModel(s.connection(), arguments->id),
                    [&](const auto& m) { ShowLayers(s, m); });
    });
  });

  group->add_subcommand("list", "All of them")->callback([&session] {
    session.Choose([](Session& s) {
      return s.Show(client::ListModels(s.connection()),
                    [&](const auto& list) { ShowList(s, list); });
    });
  });

  CLI::App* stats =
      group->add_subcommand("stats", "What one has done since it was loaded");
  stats->add_option("ID", arguments->id)->required();
  stats->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Show(client::GetModelStats(s.connection(), arguments->id),
                    [&](const auto& m) { ShowStats(s, m); });
    });
  });
}

}  // namespace

void AddModelCommands(CLI::App& app, Session& session) {
  CLI::App* group = app.add_subcommand("model", "Models that are served");
  group->require_subcommand(1);
  auto arguments = std::make_shared<ModelArguments>();

  CLI::App* load = group->add_subcommand(
      "load", "Serve a bundle or a float checkpoint under a name");
  load->add_option("ID", arguments->id, "1-63 characters of [a-z0-9-]")
      ->required();
  load->add_option("SOURCE", arguments->source, "bundles/ID or checkpoints/ID")
      ->required();
  load->add_option("--version", arguments->version,
                   "Its number; default: the next one")
      ->check(CLI::PositiveNumber);
  load->add_option("--traffic-share", arguments->traffic_share,
                   "Serve it beside the versions that are served, with this "
                   "share of the requests that name none; default: it takes "
                   "their place")
      ->check(CLI::Range(0.0, 1.0));
  load->add_option("--shadow-rate", arguments->shadow_rate,
                   "Compute this share of its requests again in float, off "
                   "their path; metrics say how far the answers differ")
      ->check(CLI::Range(0.0, 1.0));
  load->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Show(client::LoadModel(s.connection(), LoadRequest(*arguments)),
                    [&](const auto& m) { ShowModel(s, m); });
    });
  });

  CLI::App* unload = group->add_subcommand(
      "unload", "Stop serving one, after its last request");
  unload->add_option("ID", arguments->id)->required();
  unload
      ->add_option("--version", arguments->version,
                   "Only this one; default: all versions")
      ->check(CLI::PositiveNumber);
  unload->callback([=, &session] {
    session.Choose([=](Session& s) {
      return s.Done(client::UnloadModel(s.connection(), Name(*arguments)),
                    absl::StrCat("unloaded ", Name(*arguments)));
    });
  });
  AddReads(group, session, arguments);
}

}  // namespace octet::cli
