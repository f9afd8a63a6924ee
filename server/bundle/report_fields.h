// The report as JSON, by the names that bundle_service.proto has for the same
// things. docs/report.md says what they mean.

#ifndef OCTET_SERVER_BUNDLE_REPORT_FIELDS_H_
#define OCTET_SERVER_BUNDLE_REPORT_FIELDS_H_

#include "server/bundle/report.h"

namespace octet::bundle {

template <typename V>
void Fields(V& v, ErrorMeasures& measures) {
  v("sqnr_db", measures.sqnr_db);
  v("cosine", measures.cosine);
  v("max_error", measures.max_error);
}

template <typename V>
void Fields(V& v, HistogramReport& histogram) {
  v("min", histogram.min);
  v("max", histogram.max);
  v("counts", histogram.counts);
}

template <typename V>
void Fields(V& v, ChannelSpread& spread) {
  v("min", spread.min);
  v("p25", spread.p25);
  v("median", spread.median);
  v("p75", spread.p75);
  v("p99", spread.p99);
  v("max", spread.max);
}

template <typename V>
void Fields(V& v, ChannelReport& channel) {
  v("channel", channel.channel);
  v("absmax", channel.absmax);
}

template <typename V>
void Fields(V& v, TensorReport& tensor) {
  v("channels", tensor.channels);
  v("min", tensor.min);
  v("max", tensor.max);
  v("sigma", tensor.sigma);
  v("clip_min", tensor.clip_min);
  v("clip_max", tensor.clip_max);
  v("clipped_share", tensor.clipped_share);
  v("histogram", tensor.histogram);
  v("channel_absmax", tensor.channel_absmax);
  v("largest_channels", tensor.largest_channels);
}

template <typename V>
void Fields(V& v, CalibratorReport& calibrator) {
  v("calibrator", calibrator.calibrator);
  v("min", calibrator.min);
  v("max", calibrator.max);
  v("chosen", calibrator.chosen);
}

template <typename V>
void Fields(V& v, CandidateReport& candidate) {
  v("name", candidate.name);
  v("scheme", candidate.scheme);
  v("output_error", candidate.output_error);
  v("stored_bytes", candidate.stored_bytes);
  v("microseconds", candidate.microseconds);
  v("chosen", candidate.chosen);
}

template <typename V>
void Fields(V& v, LayerReport& layer) {
  v("layer", layer.layer);
  v("scheme", layer.scheme);
  v("out_features", layer.rows);
  v("in_features", layer.cols);
  v("float_bytes", layer.float_bytes);
  v("stored_bytes", layer.stored_bytes);
  v("weight_error", layer.weight);
  v("output_error", layer.output);
  v("output_rows", layer.output_rows);
  v("zero_channels", layer.zero_channels);
  v("outlier_columns", layer.outlier_columns);
  v("outlier_threshold", layer.outlier_threshold);
  v("outlier_value_share", layer.outlier_value_share);
  v("smoothing_alpha", layer.smoothing_alpha);
  v.Later("smoothing_folded_into", layer.smoothing_folded_into);
  v("hadamard_block", layer.hadamard_block);
  v("group_size", layer.group_size);
  v("rounding", layer.rounding);
  v("bias_correction", layer.bias_correction);
  v("reason", layer.reason);
  v("shares_input_with", layer.shares_input_with);
  v("weights", layer.weights);
  v("activations", layer.activations);
  v("calibrators", layer.calibrators);
  v("candidates", layer.candidates);
}

template <typename V>
void Fields(V& v, BudgetReport& budget) {
  v("measure", budget.measure);
  v("limit", budget.limit);
  v("reached", budget.reached);
  v("held", budget.held);
}

template <typename V>
void Fields(V& v, FrontierPoint& point) {
  v("name", point.name);
  v("stored_bytes", point.stored_bytes);
  v("relative_error", point.relative_error);
  v("mean_row_cosine", point.mean_row_cosine);
  v("microseconds", point.microseconds);
  v("measured", point.measured);
  v("chosen", point.chosen);
}

template <typename V>
void Fields(V& v, QuantizationReport& report) {
  v("layers", report.layers);
  v("model_error", report.model);
  v("mean_row_cosine", report.mean_row_cosine);
  v("worst_row_cosine", report.worst_row_cosine);
  v("model_rows", report.model_rows);
  v("tuned_rows", report.tuned_rows);
  v("linear_float_bytes", report.linear_float_bytes);
  v("linear_stored_bytes", report.linear_stored_bytes);
  v("checkpoint_bytes", report.checkpoint_bytes);
  v("bundle_bytes", report.bundle_bytes);
  v("calibration_samples", report.calibration_samples);
  v("policy", report.policy);
  v("budgets", report.budgets);
  v("verified_plans", report.verified_plans);
  v("frontier", report.frontier);
  v("speed_rows", report.speed_rows);
  v("speed_kernel", report.speed_kernel);
  v("warnings", report.warnings);
}

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_REPORT_FIELDS_H_
