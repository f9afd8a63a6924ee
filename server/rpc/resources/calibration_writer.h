// One calibration while somebody adds batches to it: holds its lease, runs the
// float model that inputs need, and saves every few batches.

#ifndef OCTET_SERVER_RPC_RESOURCES_CALIBRATION_WRITER_H_
#define OCTET_SERVER_RPC_RESOURCES_CALIBRATION_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/model/graph.h"
#include "server/model/model.h"
#include "server/quantization/calibration/calibration.h"
#include "server/rpc/resources/backend.h"
#include "server/rpc/resources/leases.h"

namespace octet::rpc {

class CalibrationWriter {
 public:
  // As the API promises: a crash costs at most this many batches.
  static constexpr int64_t kBatchesPerSave = 16;

  // NOT_FOUND (calibration, checkpoint); FAILED_PRECONDITION when the
  // checkpoint has other weights now; ABORTED as Leases::Acquire, which
  // `holder` is for.
  static absl::StatusOr<std::unique_ptr<CalibrationWriter>> Open(
      Backend* backend, std::string_view id,
      std::string_view holder = Leases::kCall);
  ~CalibrationWriter();  // saves; an error is logged
  CalibrationWriter(const CalibrationWriter&) = delete;
  CalibrationWriter& operator=(const CalibrationWriter&) = delete;

  const model::Graph& graph() const { return graph_; }  // of its checkpoint
  const quantization::Calibration& calibration() const { return calibration_; }

  // Has the float model ready before the first inputs come.
  absl::Status LoadModel();

  // A batch counts whole or not at all, with the errors of
  // quantization::Observe*. Without a pool the calling thread does it alone.
  absl::Status Add(const model::ModelInput& batch, kernels::ThreadPool* pool);
  absl::Status Add(std::string_view layer, kernels::MatrixView<const float> x);

  // What is not saved yet.
  absl::Status Save();

 private:
  CalibrationWriter(Backend* backend, std::string_view id, Lease lease);
  absl::Status Added();

  Backend& backend_;
  const std::string id_;
  const Lease lease_;
  model::Graph graph_;
  quantization::Calibration calibration_;
  std::shared_ptr<const model::Model> model_;  // when inputs come
  int64_t unsaved_batches_ = 0;
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_RESOURCES_CALIBRATION_WRITER_H_
