#include <algorithm>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/inputs.h"
#include "client/cli/npy.h"
#include "client/lib/inference.h"
#include "client/lib/models.h"
#include "client/lib/status_macros.h"

namespace octet::cli {
namespace {

constexpr int64_t kShownRows = 8;
constexpr int64_t kShownColumns = 6;

struct InferenceArguments {
  std::string model;
  std::string layer;
  std::string input;
  std::string output;
  std::string ids;
  int64_t random_rows = 0;
  bool hidden_states = false;
};

void ShowTimings(Session& session, const v1::Timings& timings) {
  session.Print(absl::StrFormat(
      "%s on the server: queue %s, quantize %s, dot %s, dequantize %s, "
      "outlier %s\n",
      FormatSpan(timings.total()), FormatSpan(timings.queue()),
      FormatSpan(timings.quantize()), FormatSpan(timings.dot()),
      FormatSpan(timings.dequantize()), FormatSpan(timings.outlier())));
}

// The first values of the first rows, and how many there are.
void ShowMatrix(Session& session, const client::Matrix& matrix) {
  for (int64_t r = 0; r < std::min(matrix.rows, kShownRows); ++r) {
    for (int64_t c = 0; c < std::min(matrix.columns, kShownColumns); ++c) {
      session.Print(absl::StrFormat(
          " %11.5g",
          matrix.values[static_cast<size_t>(r * matrix.columns + c)]));
    }
    session.Print(matrix.columns > kShownColumns ? "  ...\n" : "\n");
  }
  session.Print(
      absl::StrFormat("[%d, %d] in FP32\n", matrix.rows, matrix.columns));
}

absl::Status ShowOutput(Session& session, const InferenceArguments& arguments,
                        const google::protobuf::Message& response,
                        const v1::Tensor& tensor, const v1::Timings& timings) {
  ASSIGN_OR_RETURN(const client::Matrix matrix, client::ToMatrix(tensor));
  if (!arguments.output.empty()) {
    RETURN_IF_ERROR(WriteNpy(arguments.output, matrix));
  }
  return session.Show(response, [&] {
    ShowMatrix(session, matrix);
    ShowTimings(session, timings);
  });
}

// "101,7592,102": an empty item is a variable that was not set, not a token 0.
absl::StatusOr<v1::ModelInputs> ParseIds(const std::string& text) {
  v1::ModelInputs inputs;
  for (const absl::string_view item : absl::StrSplit(text, ',')) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(item, &id)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--ids: '", item, "' is no token id; expected 101,7592,102"));
    }
    inputs.mutable_tokens()->add_ids(id);
  }
  inputs.mutable_tokens()->add_lengths(inputs.tokens().ids_size());
  return inputs;
}

absl::StatusOr<v1::ModelInputs> ForwardInputs(
    Session& session, const InferenceArguments& arguments) {
  if (arguments.input.empty()) return ParseIds(arguments.ids);
  ASSIGN_OR_RETURN(const auto reader, InputReader::Open(arguments.input, [&] {
                     return session.interrupted();
                   }));
  ASSIGN_OR_RETURN(auto all, reader->Next(std::numeric_limits<int32_t>::max()));
  if (!all.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(arguments.input, " has no sequence and no row"));
  }
  return *std::move(all);
}

absl::Status RunForward(Session& session, const InferenceArguments& arguments) {
  v1::ForwardRequest request;
  request.set_model(arguments.model);
  request.set_output(arguments.hidden_states ? v1::OUTPUT_KIND_HIDDEN_STATES
                                             : v1::OUTPUT_KIND_MODEL);
  ASSIGN_OR_RETURN(*request.mutable_inputs(),
                   ForwardInputs(session, arguments));
  ASSIGN_OR_RETURN(const v1::ForwardResponse response,
                   client::Forward(session.connection(), std::move(request)));
  return ShowOutput(session, arguments, response, response.output(),
                    response.timings());
}

// Standard normal rows, as wide as the layer takes them.
absl::StatusOr<client::Matrix> RandomRows(Session& session,
                                          const InferenceArguments& arguments) {
  ASSIGN_OR_RETURN(const v1::Model model,
                   client::GetModel(session.connection(), arguments.model));
  for (const auto& layer : model.layers()) {
    if (layer.name() != arguments.layer) continue;
    client::Matrix matrix{arguments.random_rows, layer.in_features(), {}};
    std::mt19937 engine(1);  // the same rows in every call
    std::normal_distribution<float> normal;
    matrix.values.resize(static_cast<size_t>(matrix.rows * matrix.columns));
    for (float& value : matrix.values) value = normal(engine);
    return matrix;
  }
  return absl::NotFoundError(absl::StrCat(
      model.name(), " has no linear layer '", arguments.layer, "'"));
}

absl::Status RunMatMul(Session& session, const InferenceArguments& arguments) {
  ASSIGN_OR_RETURN(const client::Matrix x, arguments.random_rows > 0
                                               ? RandomRows(session, arguments)
                                               : ReadNpy(arguments.input));
  v1::MatMulRequest request;
  request.set_model(arguments.model);
  request.set_layer(arguments.layer);
  *request.mutable_x() = client::ToTensor(x);
  ASSIGN_OR_RETURN(const v1::MatMulResponse response,
                   client::MatMul(session.connection(), std::move(request)));
  return ShowOutput(session, arguments, response, response.y(),
                    response.timings());
}

void AddOutput(CLI::App* command, InferenceArguments& arguments) {
  command->add_option("--output", arguments.output,
                      "Also write the answer to this .npy file");
}

}  // namespace

void AddInferenceCommands(CLI::App& app, Session& session) {
  auto a = std::make_shared<InferenceArguments>();
  CLI::App* forward = app.add_subcommand("forward", "Run a whole model");
  forward->add_option("MODEL", a->model)->required();
  CLI::Option_group* inputs = forward->add_option_group("input");
  inputs->add_option("--ids", a->ids, "One sequence: 101,7592,102");
  inputs->add_option("--input", a->input,
                     "Lines {\"ids\": [...]} (- is stdin), or an .npy file of "
                     "2-D float32 features");
  inputs->require_option(1);
  forward->add_flag("--hidden-states", a->hidden_states,
                    "One row per token, before pooling");
  AddOutput(forward, *a);
  forward->callback([=, &session] {
    session.Choose([=](Session& s) { return RunForward(s, *a); });
  });

  CLI::App* matmul =
      app.add_subcommand("matmul", "Multiply by one linear layer");
  matmul->add_option("MODEL", a->model)->required();
  matmul->add_option("LAYER", a->layer)->required();
  CLI::Option_group* rows = matmul->add_option_group("input");
  rows->add_option("--input", a->input, ".npy file, [M, K] in float32");
  rows->add_option("--random", a->random_rows,
                   "M rows of random numbers, to see the timings")
      ->check(CLI::Range(1, 1 << 20));
  rows->require_option(1);
  AddOutput(matmul, *a);
  matmul->callback([=, &session] {
    session.Choose([=](Session& s) { return RunMatMul(s, *a); });
  });
}

}  // namespace octet::cli
