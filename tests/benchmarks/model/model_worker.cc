// Forward of a checkpoint as a worker: SEQUENCES TOKENS, variants `int8` (the
// scheme w8a8_dynamic) and `fp32`. Usage: octet_model_worker CHECKPOINT THREADS

#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/thread_pool.h"
#include "tests/benchmarks/harness/worker.h"
#include "tests/benchmarks/model/checkpoint.h"

namespace octet::benchmarks {
namespace {

class Forward : public Job {
 public:
  Forward(const model::Model& model, kernels::ThreadPool* pool,
          size_t sequences, size_t tokens)
      : model_(model) {
    options_.pool = pool;
    std::mt19937 random(1);
    std::uniform_int_distribution<int32_t> ids(
        0, static_cast<int32_t>(model.graph().vocabulary) - 1);
    input_.lengths.assign(sequences, static_cast<int32_t>(tokens));
    for (size_t i = 0; i < sequences * tokens; ++i) {
      input_.token_ids.push_back(ids(random));
    }
  }

  void Run() override {
    const auto output = model_.Forward(input_, options_);
    if (!output.ok()) {
      throw std::runtime_error(std::string(output.status().message()));
    }
  }

 private:
  const model::Model& model_;
  model::RunOptions options_;
  model::ModelInput input_;
};

std::unique_ptr<const model::Model> Load(const std::string& checkpoint,
                                         model::Scheme scheme) {
  auto loaded = LoadCheckpoint(checkpoint, scheme);
  if (!loaded.ok()) {
    throw std::runtime_error(std::string(loaded.status().message()));
  }
  return *std::move(loaded);
}

}  // namespace
}  // namespace octet::benchmarks

int main(int argc, char** argv) {
  namespace benchmarks = octet::benchmarks;
  if (argc != 3) return 2;
  octet::kernels::ThreadPool pool(std::stoul(argv[2]));
  const auto int8 =
      benchmarks::Load(argv[1], octet::model::Scheme::kW8A8Dynamic);
  const auto fp32 = benchmarks::Load(argv[1], octet::model::Scheme::kFp32);
  const auto variant = [&pool](const octet::model::Model& model) {
    return [&](const std::vector<size_t>& numbers) {
      return std::make_unique<benchmarks::Forward>(model, &pool, numbers.at(0),
                                                   numbers.at(1));
    };
  };
  benchmarks::Serve("Octet",
                    {{"int8", variant(*int8)}, {"fp32", variant(*fp32)}});
  return 0;
}
