// Layers that read the same input as one: their weights lie below each other,
//   [W_1]
//   [W_2] x^T = [W_1 x^T; W_2 x^T; ...]
// so that the input is quantized once and one matrix is multiplied. Output
// channels do not depend on each other: no bit of a result changes.

#ifndef OCTET_SERVER_MODEL_STACKED_TENSORS_H_
#define OCTET_SERVER_MODEL_STACKED_TENSORS_H_

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/tensor.h"

namespace octet::model {

// The tensors of a layer `name` that is made of others; copied.
class StackedTensors : public TensorSource {
 public:
  // What belongs to an output channel is put together; all else belongs to the
  // input and must be the same for every part. FAILED_PRECONDITION where it is
  // not, or where a part has a tensor that another lacks.
  static absl::StatusOr<StackedTensors> Create(
      const TensorSource& tensors, const std::string& name,
      const std::vector<std::string>& parts);

  std::vector<std::string> Names() const override;
  absl::StatusOr<TensorView> Find(std::string_view name) const override;

 private:
  struct Stack {
    DataType type = DataType::kF32;
    std::vector<int64_t> shape;
    std::vector<std::byte> bytes;
  };

  StackedTensors() = default;

  std::map<std::string, Stack, std::less<>> stacks_;
};

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_STACKED_TENSORS_H_
