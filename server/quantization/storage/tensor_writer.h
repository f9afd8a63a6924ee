// Writes a checkpoint's tensors as a bundle stores them, a block of rows in
// memory at a time, and measures what each linear's weight lost.

#ifndef OCTET_SERVER_QUANTIZATION_STORAGE_TENSOR_WRITER_H_
#define OCTET_SERVER_QUANTIZATION_STORAGE_TENSOR_WRITER_H_

#include <cstddef>
#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/bundle/report.h"
#include "server/bundle/shard_writer.h"
#include "server/model/tensor.h"
#include "server/quantization/calibration/layer_samples.h"
#include "server/quantization/methods/compensations.h"
#include "server/quantization/methods/layer_plan.h"
#include "server/quantization/methods/layer_quantizer.h"
#include "server/quantization/storage/storage.h"

namespace octet::quantization {

class TensorWriter {
 public:
  // Everything outlives the writer; `pool` may be nullptr, `cancelled` empty.
  TensorWriter(const model::TensorSource& checkpoint, kernels::ThreadPool* pool,
               const std::function<bool()>& cancelled,
               bundle::ShardWriter& output)
      : checkpoint_(checkpoint),
        pool_(pool),
        cancelled_(cancelled),
        output_(output),
        compensations_(cancelled) {}

  // Writes the tensor's parts. `plan` and `report` are of its linear, or
  // nullptr, `samples` of its input; the report gets weight errors and all-zero
  // channels. CANCELLED within one block's work.
  absl::Status Write(const StoredTensor& stored, const LayerPlan* plan,
                     const LayerSamples& samples, bundle::LayerReport* report);

 private:
  absl::Status WriteAsItIs(const StoredTensor& stored);
  absl::Status WriteFloat(const StoredTensor& stored, const LayerPlan* plan,
                          bundle::LayerReport* report);
  absl::Status WriteInt8(const StoredTensor& stored, const LayerPlan& plan,
                         const LayerSamples& samples,
                         bundle::LayerReport& report);
  // Quantizes all of it, writes the codes and returns the rest.
  absl::StatusOr<QuantizedLayer> WriteCodes(const StoredTensor& stored,
                                            const LayerPlan& plan,
                                            const LayerSamples& samples,
                                            bundle::LayerReport& report);
  absl::Status CheckCancelled() const;

  const model::TensorSource& checkpoint_;
  kernels::ThreadPool* pool_;
  const std::function<bool()>& cancelled_;
  bundle::ShardWriter& output_;
  Compensations compensations_;  // q, k and v come one after the other
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_STORAGE_TENSOR_WRITER_H_
