#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/watch.h"
#include "client/lib/operations.h"
#include "client/lib/status_macros.h"

namespace octet::cli {
namespace {

struct Arguments {
  std::string checkpoint;
  std::string calibration;
  std::string bundle;
  std::string scheme = "w8a8_dynamic";
  std::string float_scheme = "fp16";
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  bool keep_first = false;
  bool keep_last = false;
  std::vector<std::string> overrides;  // PATTERN=SCHEME
  std::string outlier_rule = "absolute";
  double outlier_threshold = 6.0;
  bool no_wait = false;
};

absl::Status ParseOverrides(const std::vector<std::string>& texts,
                            v1::QuantizationSpec* spec) {
  for (const std::string& text : texts) {
    const size_t equals = text.rfind('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--override '", text, "' is not PATTERN=SCHEME"));
    }
    v1::SchemeOverride& item = *spec->add_overrides();
    item.set_pattern(text.substr(0, equals));
    ASSIGN_OR_RETURN(const v1::Scheme scheme,
                     ParseScheme(text.substr(equals + 1)));
    item.set_scheme(scheme);
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::QuantizeRequest> MakeRequest(const Arguments& arguments) {
  v1::QuantizeRequest request;
  request.set_checkpoint(
      client::ResourceName("checkpoints", arguments.checkpoint));
  if (!arguments.calibration.empty()) {
    request.set_calibration(
        client::ResourceName("calibrations", arguments.calibration));
  }
  request.set_bundle_id(arguments.bundle);
  v1::QuantizationSpec& spec = *request.mutable_spec();
  ASSIGN_OR_RETURN(const v1::Scheme scheme, ParseScheme(arguments.scheme));
  ASSIGN_OR_RETURN(const v1::Scheme floats,
                   ParseScheme(arguments.float_scheme));
  ASSIGN_OR_RETURN(const v1::OutlierRule rule,
                   ParseOutlierRule(arguments.outlier_rule));
  spec.set_scheme(scheme);
  spec.set_float_scheme(floats);
  spec.set_outlier_rule(rule);
  spec.set_outlier_threshold(arguments.outlier_threshold);
  spec.mutable_include()->Assign(arguments.include.begin(),
                                 arguments.include.end());
  spec.mutable_exclude()->Assign(arguments.exclude.begin(),
                                 arguments.exclude.end());
  spec.set_keep_first(arguments.keep_first);
  spec.set_keep_last(arguments.keep_last);
  RETURN_IF_ERROR(ParseOverrides(arguments.overrides, &spec));
  return request;
}

absl::Status Run(Session& session, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const v1::QuantizeRequest request, MakeRequest(arguments));
  absl::StatusOr<v1::Operation> started =
      client::Quantize(session.connection(), request);
  RETURN_IF_ERROR(started.status());
  if (!arguments.no_wait) return WatchOrCancel(session, started->name());
  return session.Show(*started, [&] {
    session.Print(absl::StrCat(started->name(),
                               " started; follow it with: octet operation "
                               "watch ",
                               started->name(), "\n"));
  });
}

}  // namespace

void AddQuantizeCommand(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand(
      "quantize",
      "Make a bundle of a checkpoint and follow it to its end; Ctrl-C cancels "
      "it on the server");
  auto a = std::make_shared<Arguments>();
  command->add_option("CHECKPOINT", a->checkpoint)->required();
  command->add_option("--bundle", a->bundle, "Id of the bundle to make")
      ->required();
  command->add_option("--calibration", a->calibration,
                      "Needed by w8a8_static and llm_int8; measures errors");
  command
      ->add_option("--scheme", a->scheme, "w8a8_dynamic, w8a8_static, llm_int8")
      ->capture_default_str();
  command
      ->add_option("--float-scheme", a->float_scheme,
                   "Of what stays float: fp16, bf16, fp32")
      ->capture_default_str();
  command
      ->add_option("--include", a->include,
                   "Only layers that match this glob; repeatable")
      ->expected(1)
      ->take_all();
  command
      ->add_option("--exclude", a->exclude,
                   "Not layers that match this glob; repeatable")
      ->expected(1)
      ->take_all();
  command->add_flag("--keep-first", a->keep_first, "First layers stay float");
  command->add_flag("--keep-last", a->keep_last, "Last layer stays float");
  command
      ->add_option("--override", a->overrides,
                   "PATTERN=SCHEME, the last match wins; repeatable")
      ->expected(1)
      ->take_all();
  command
      ->add_option("--outlier-rule", a->outlier_rule,
                   "For llm_int8: absolute (|x|) or sigma (its multiple)")
      ->capture_default_str();
  command->add_option("--outlier-threshold", a->outlier_threshold)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--no-wait", a->no_wait, "Only start it");
  command->callback([=, &session] {
    session.Choose([=](Session& s) { return Run(s, *a); });
  });
}

}  // namespace octet::cli
