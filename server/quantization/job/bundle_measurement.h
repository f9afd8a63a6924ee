// What a bundle does to the model, measured on it as it is stored: folded,
// rounded and read back.

#ifndef OCTET_SERVER_QUANTIZATION_JOB_BUNDLE_MEASUREMENT_H_
#define OCTET_SERVER_QUANTIZATION_JOB_BUNDLE_MEASUREMENT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "server/bundle/bundle.h"
#include "server/bundle/report.h"
#include "server/model/graph.h"
#include "server/model/scheme.h"
#include "server/quantization/job/progress_meter.h"
#include "server/quantization/job/quantizer.h"
#include "server/quantization/planning/planner.h"

namespace octet::quantization {

// "300 MiB, and the server allows 200 MiB (--measure-memory-mib)"; "" where it
// does.
std::string MoreThanMayBeMeasured(const QuantizeJob& job, uint64_t bytes);

// Fills in the errors of the report's layers and of the whole model, on what
// calibration kept; or warns why not. Where no search has timed its trials, the
// bundle is timed beside FP32. The bundle is in `job.output`, of `plan` with
// the layers' `schemes`.
absl::Status MeasureBundle(const QuantizeJob& job,
                           const bundle::ModelFiles& checkpoint,
                           const model::Graph& graph,
                           const QuantizationPlan& plan,
                           const model::Plan& schemes, ProgressMeter& progress,
                           bundle::QuantizationReport& report);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_JOB_BUNDLE_MEASUREMENT_H_
