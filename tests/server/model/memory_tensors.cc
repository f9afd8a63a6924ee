#include "tests/server/model/memory_tensors.h"

#include <numeric>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "server/model/str_cat.h"

namespace octet::model {

std::vector<std::string> MemoryTensors::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

absl::StatusOr<TensorView> MemoryTensors::Find(std::string_view name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    return absl::NotFoundError(StrCat("no tensor '", name, "'"));
  }
  const Entry& entry = found->second;
  return TensorView{entry.type, entry.shape, entry.bytes};
}

void MemoryTensors::SetRandom(const std::string& name,
                              std::vector<int64_t> shape) {
  std::seed_seq seed(name.begin(), name.end());
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, 0.5F);
  const int64_t count = std::accumulate(shape.begin(), shape.end(), int64_t{1},
                                        std::multiplies<>());
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  SetFloat(name, std::move(shape), values);
}

void MemoryTensors::Rename(const std::string& from, const std::string& to) {
  auto node = entries_.extract(from);
  node.key() = to;
  entries_.insert(std::move(node));
}

}  // namespace octet::model
