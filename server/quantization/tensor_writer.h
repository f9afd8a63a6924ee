// Writes a checkpoint's tensors as a bundle stores them, one in memory at a
// time, and measures what each linear's weight lost.

#ifndef OCTET_SERVER_QUANTIZATION_TENSOR_WRITER_H_
#define OCTET_SERVER_QUANTIZATION_TENSOR_WRITER_H_

#include <vector>

#include "absl/status/status.h"
#include "kernels/thread_pool.h"
#include "server/bundle/report.h"
#include "server/bundle/safetensors.h"
#include "server/model/tensor.h"
#include "server/quantization/layer_plan.h"
#include "server/quantization/layer_samples.h"
#include "server/quantization/storage.h"

namespace octet::quantization {

class TensorWriter {
 public:
  // Everything outlives the writer; `pool` may be nullptr.
  TensorWriter(const model::TensorSource& checkpoint, kernels::ThreadPool* pool,
               bundle::SafetensorsWriter& output)
      : checkpoint_(checkpoint), pool_(pool), output_(output) {}

  // Writes the tensor's parts. `plan`, `samples` and `report` are of its
  // linear, or nullptr; the report gets weight errors and all-zero channels.
  absl::Status Write(const StoredTensor& stored, const LayerPlan* plan,
                     const LayerSamples& samples, bundle::LayerReport* report);

 private:
  absl::Status WriteInt8(const StoredTensor& stored, const LayerPlan& plan,
                         const std::vector<float>& values,
                         const LayerSamples& samples,
                         bundle::LayerReport& report);

  const model::TensorSource& checkpoint_;
  kernels::ThreadPool* pool_;
  bundle::SafetensorsWriter& output_;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_TENSOR_WRITER_H_
