// Tensors in memory, for tests.

#ifndef OCTET_TESTS_SERVER_MODEL_MEMORY_TENSORS_H_
#define OCTET_TESTS_SERVER_MODEL_MEMORY_TENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "server/model/tensor.h"

namespace octet::model {

class MemoryTensors : public TensorSource {
 public:
  std::vector<std::string> Names() const override;
  absl::StatusOr<TensorView> Find(std::string_view name) const override;

  template <typename T>
  void Set(const std::string& name, DataType type, std::vector<int64_t> shape,
           const std::vector<T>& values) {
    Entry& entry = entries_[name];
    entry.type = type;
    entry.shape = std::move(shape);
    const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
    entry.bytes.assign(bytes, bytes + values.size() * sizeof(T));
  }
  void SetFloat(const std::string& name, std::vector<int64_t> shape,
                const std::vector<float>& values) {
    Set(name, DataType::kF32, std::move(shape), values);
  }
  // Values drawn from a normal distribution, seeded by the name.
  void SetRandom(const std::string& name, std::vector<int64_t> shape);
  void Remove(const std::string& name) { entries_.erase(name); }
  void Rename(const std::string& from, const std::string& to);

 private:
  struct Entry {
    DataType type = DataType::kF32;
    std::vector<int64_t> shape;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace octet::model

#endif  // OCTET_TESTS_SERVER_MODEL_MEMORY_TENSORS_H_
