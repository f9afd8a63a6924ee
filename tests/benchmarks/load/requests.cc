#include "tests/benchmarks/load/requests.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <random>
#include <stdexcept>

#include "grpcpp/support/slice.h"
#include "inference/grpc_service.pb.h"
#include "nlohmann/json.hpp"

namespace octet::benchmarks {
namespace {

grpc::ByteBuffer Serialize(const std::vector<int64_t>& ids,
                           const std::string& model,
                           const std::string& output) {
  inference::ModelInferRequest request;
  request.set_model_name(model);
  auto* input = request.add_inputs();
  input->set_name("input_ids");
  input->set_datatype("INT64");
  input->add_shape(1);
  input->add_shape(static_cast<int64_t>(ids.size()));
  request.add_outputs()->set_name(output);
  request.add_raw_input_contents(ids.data(), ids.size() * sizeof(ids[0]));
  const grpc::Slice slice(request.SerializeAsString());
  return {&slice, 1};
}

}  // namespace

Requests::Requests(const std::filesystem::path& file, const std::string& model,
                   const std::string& output, unsigned seed) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error("cannot read " + file.string());
  const nlohmann::json lists = nlohmann::json::parse(in);
  if (lists.empty()) throw std::runtime_error(file.string() + " is empty");
  for (const auto& list : lists) {
    requests_.push_back(
        Serialize(list.get<std::vector<int64_t>>(), model, output));
  }
  std::mt19937 random(seed);
  std::shuffle(requests_.begin(), requests_.end(), random);
}

}  // namespace octet::benchmarks
