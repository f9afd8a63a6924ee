// A plan carried out: the files of a bundle, but for octet.json, and what is
// known of them without running the model.

#ifndef OCTET_SERVER_QUANTIZATION_JOB_BUNDLE_WRITER_H_
#define OCTET_SERVER_QUANTIZATION_JOB_BUNDLE_WRITER_H_

#include "absl/status/statusor.h"
#include "server/bundle/bundle.h"
#include "server/bundle/manifest.h"
#include "server/model/graph.h"
#include "server/quantization/job/progress_meter.h"
#include "server/quantization/job/quantizer.h"
#include "server/quantization/planning/planner.h"

namespace octet::quantization {

// Into `job.output`, which holds nothing of an earlier plan. Where smoothing
// can be folded it is, and `plan` says so afterwards. Errors: those of
// QuantizeLayer and of files; CANCELLED.
absl::StatusOr<bundle::Manifest> WriteBundle(
    const QuantizeJob& job, const bundle::ModelFiles& checkpoint,
    const model::Graph& graph, const Calibration& calibration,
    QuantizationPlan& plan, ProgressMeter& progress);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_JOB_BUNDLE_WRITER_H_
