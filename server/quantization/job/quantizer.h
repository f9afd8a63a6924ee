// checkpoint + calibration + plan -> bundle and report, layer by layer.
//
// Memory holds some blocks of 64 MiB of the weights, however large the
// checkpoint is, and for GPTQ one input's Hessian; but for measuring the whole
// model, which is bounded by `max_measure_bytes`.

#ifndef OCTET_SERVER_QUANTIZATION_JOB_QUANTIZER_H_
#define OCTET_SERVER_QUANTIZATION_JOB_QUANTIZER_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/thread_pool.h"
#include "server/bundle/bundle.h"
#include "server/bundle/manifest.h"
#include "server/bundle/shard_writer.h"
#include "server/quantization/calibration/calibration.h"
#include "server/quantization/job/progress_meter.h"
#include "server/quantization/planning/planner.h"

namespace octet::quantization {

struct QuantizeJob {
  std::filesystem::path checkpoint;  // directory
  std::filesystem::path output;      // staged bundle directory
  // nullptr: dynamic schemes only. What is fitted to rows is measured on others
  // after HoldOut (hold_out.h); without, the report warns.
  const Calibration* calibration;
  PlanRequest request;
  bundle::Provenance provenance;
  uint64_t max_shard_bytes = bundle::kDefaultShardBytes;
  // What measuring the whole model may take of memory; a model that takes more
  // is quantized without, and the report warns of it. Policy `auto` can not do
  // without.
  uint64_t max_measure_bytes = uint64_t{2} << 30;
  kernels::ThreadPool* pool = nullptr;
  std::function<void(const Progress&)> on_progress;  // may be empty
  std::function<bool()> cancelled;                   // may be empty
};

// Writes the whole bundle to `output`; publishing it is the caller's. With
// policy `auto` it is within the budget as it is stored and measured. Errors:
// those of MakePlan and PlanSearch; FAILED_PRECONDITION for a model too large
// for policy `auto` (`max_measure_bytes`); INVALID_ARGUMENT for a NaN or
// infinite weight (tensor and index); CANCELLED within one layer's work of
// `cancelled` saying true.
absl::StatusOr<bundle::Manifest> Quantize(const QuantizeJob& job);

// FAILED_PRECONDITION for a checkpoint that came quantized.
absl::Status CheckIsFloat(const bundle::ModelFiles& checkpoint);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_JOB_QUANTIZER_H_
