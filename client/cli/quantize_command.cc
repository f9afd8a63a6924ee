#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/methods_option.h"
#include "client/cli/watch.h"
#include "client/lib/operations.h"
#include "client/lib/status_macros.h"

namespace octet::cli {
namespace {

struct BudgetArguments {
  std::optional<double> min_cosine;
  std::optional<double> min_worst_cosine;
  std::optional<double> max_relative_error;
  std::optional<int64_t> max_bytes;
  std::optional<double> max_size_ratio;
};

struct QuantizeArguments {
  std::string checkpoint;
  std::string calibration;
  std::string bundle;
  std::string policy = "fixed";
  BudgetArguments budget;
  std::string scheme = "w8a8_dynamic";
  std::map<std::string, std::string> methods;  // flag, as typed
  std::string float_scheme = "fp16";
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  bool keep_first = false;
  bool keep_last = false;
  std::vector<std::string> overrides;  // PATTERN=ITEM,ITEM
  std::string outlier_rule = "absolute";
  double outlier_threshold = 6.0;
  uint64_t max_shard_bytes = 0;
  bool no_wait = false;
};

// Flags that are methods, by the name SetMethod knows them by.
struct MethodFlag {
  const char* name;
  const char* help;
};
constexpr std::array<MethodFlag, 7> kMethodFlags = {{
    {"smoothing", "none, search, or an alpha from 0 to 1 (SmoothQuant)"},
    {"rotate", "Rotate inputs by Hadamard blocks of this size, as 256"},
    {"group-size", "Inputs that share a weight scale: 32, 64, 128 or 256"},
    {"rounding", "Of weights: nearest or gptq"},
    {"bias-correction", "on or off"},
    {"calibrator",
     "Of static ranges: min_max, moving_average, percentile, entropy, mse"},
    {"percentile", "For the calibrator of that name, as 99.99"},
}};

// Two limits would silently be the last one on the wire.
absl::Status SetBudget(const BudgetArguments& arguments,
                       v1::QuantizationSpec& spec) {
  const auto is_set = [](const auto& limit) {
    return limit.has_value() ? 1 : 0;
  };
  if (is_set(arguments.min_cosine) + is_set(arguments.max_relative_error) +
          is_set(arguments.max_bytes) + is_set(arguments.max_size_ratio) >
      1) {
    return absl::InvalidArgumentError(
        "only one of --min-cosine, --max-relative-error, --max-bytes and "
        "--max-size-ratio can be the budget");
  }
  if (arguments.min_cosine) {
    spec.mutable_budget()->set_min_mean_cosine(*arguments.min_cosine);
  }
  if (arguments.max_relative_error) {
    spec.mutable_budget()->set_max_relative_error(
        *arguments.max_relative_error);
  }
  if (arguments.max_bytes) {
    spec.mutable_budget()->set_max_bytes(*arguments.max_bytes);
  }
  if (arguments.max_size_ratio) {
    spec.mutable_budget()->set_max_size_ratio(*arguments.max_size_ratio);
  }
  if (arguments.min_worst_cosine) {
    spec.mutable_budget()->set_min_worst_cosine(*arguments.min_worst_cosine);
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::QuantizeRequest> MakeRequest(
    const QuantizeArguments& arguments) {
  v1::QuantizeRequest request;
  request.set_checkpoint(
      client::ResourceName("checkpoints", arguments.checkpoint));
  if (!arguments.calibration.empty()) {
    request.set_calibration(
        client::ResourceName("calibrations", arguments.calibration));
  }
  request.set_bundle_id(arguments.bundle);
  request.set_max_shard_bytes(static_cast<int64_t>(arguments.max_shard_bytes));
  v1::QuantizationSpec& spec = *request.mutable_spec();
  ASSIGN_OR_RETURN(const v1::Scheme scheme, ParseScheme(arguments.scheme));
  ASSIGN_OR_RETURN(const v1::Scheme floats,
                   ParseScheme(arguments.float_scheme));
  ASSIGN_OR_RETURN(const v1::OutlierRule rule,
                   ParseOutlierRule(arguments.outlier_rule));
  ASSIGN_OR_RETURN(const v1::Policy policy, ParsePolicy(arguments.policy));
  spec.set_policy(policy);
  RETURN_IF_ERROR(SetBudget(arguments.budget, spec));
  for (const auto& [name, value] : arguments.methods) {
    if (value.empty()) continue;
    RETURN_IF_ERROR(SetMethod(name, value, spec.mutable_methods()));
  }
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
  for (const std::string& text : arguments.overrides) {
    ASSIGN_OR_RETURN(*spec.add_overrides(), ParseOverride(text));
  }
  return request;
}

absl::Status Run(Session& session, const QuantizeArguments& arguments) {
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

void AddPolicyOptions(CLI::App& command, QuantizeArguments& a) {
  command
      .add_option("--policy", a.policy,
                  "fixed: one scheme for all layers; auto: the fastest plan "
                  "within a budget, found by measurement")
      ->capture_default_str();
  BudgetArguments& budget = a.budget;
  constexpr const char* kBudget = "Budget of --policy auto, one of these";
  command
      .add_option("--min-cosine", budget.min_cosine,
                  "Mean cosine to the float model's output, as 0.9995")
      ->group(kBudget);
  command
      .add_option("--max-relative-error", budget.max_relative_error,
                  "Of the model's output, as 0.02")
      ->group(kBudget);
  command
      .add_option("--max-bytes", budget.max_bytes, "Of the bundle's tensors")
      ->group(kBudget);
  command
      .add_option("--max-size-ratio", budget.max_size_ratio,
                  "Of the bundle's tensors to the checkpoint's in FP32")
      ->group(kBudget);
  command
      .add_option("--min-worst-cosine", budget.min_worst_cosine,
                  "Smallest cosine of any sample, beside the budget")
      ->group(kBudget);
  for (const MethodFlag& flag : kMethodFlags) {
    command
        .add_option(absl::StrCat("--", flag.name), a.methods[flag.name],
                    flag.help)
        ->group("Methods of INT8 layers (--policy fixed)");
  }
}

}  // namespace

void AddQuantizeCommand(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand(
      "quantize",
      "Make a bundle of a checkpoint and follow it to its end; Ctrl-C cancels "
      "it on the server");
  auto a = std::make_shared<QuantizeArguments>();
  command->add_option("CHECKPOINT", a->checkpoint)->required();
  command->add_option("--bundle", a->bundle, "Id of the bundle to make")
      ->required();
  command->add_option("--calibration", a->calibration,
                      "Needed by w8a8_static, llm_int8, policy auto and most "
                      "methods; measures errors");
  AddPolicyOptions(*command, *a);
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
                   "PATTERN=SCHEME,METHOD:VALUE,.., the last match wins; "
                   "repeatable. Methods are named like their flags")
      ->expected(1)
      ->take_all();
  command
      ->add_option("--outlier-rule", a->outlier_rule,
                   "For llm_int8: absolute (|x|) or sigma (its multiple)")
      ->capture_default_str();
  command->add_option("--outlier-threshold", a->outlier_threshold)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--max-shard-bytes", a->max_shard_bytes,
                   "Divide larger tensor files, as 500MB or 2GiB; default 5 GB")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true));
  command->add_flag("--no-wait", a->no_wait, "Only start it");
  command->callback([=, &session] {
    session.Choose([=](Session& s) { return Run(s, *a); });
  });
}

}  // namespace octet::cli
