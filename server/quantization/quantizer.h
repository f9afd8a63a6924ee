// checkpoint + calibration + plan -> bundle and report, layer by layer.

#ifndef OCTET_SERVER_QUANTIZATION_QUANTIZER_H_
#define OCTET_SERVER_QUANTIZATION_QUANTIZER_H_

#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/thread_pool.h"
#include "server/bundle/bundle.h"
#include "server/bundle/manifest.h"
#include "server/quantization/calibration.h"
#include "server/quantization/planner.h"

namespace octet::quantization {

struct Progress {
  std::string stage;  // "plan", "quantize", "measure", "write"
  std::string layer;  // being worked on, or empty
  int done = 0;       // steps
  int total = 0;
};

struct QuantizeJob {
  std::filesystem::path checkpoint;  // directory
  std::filesystem::path output;      // staged bundle directory
  const Calibration* calibration;    // nullptr: dynamic schemes only
  PlanRequest request;
  bundle::Provenance provenance;
  kernels::ThreadPool* pool = nullptr;
  std::function<void(const Progress&)> on_progress;  // may be empty
  std::function<bool()> cancelled;                   // may be empty
};

// Writes the whole bundle to `output`; publishing it is the caller's. Errors:
// those of MakePlan; INVALID_ARGUMENT for a NaN or infinite weight (tensor and
// index); CANCELLED within one layer's work of `cancelled` saying true.
absl::StatusOr<bundle::Manifest> Quantize(const QuantizeJob& job);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_QUANTIZER_H_
