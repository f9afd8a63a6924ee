#include "server/rpc/report_messages.h"

#include <cstdint>

#include "server/bundle/report_summary.h"
#include "server/rpc/messages.h"

namespace octet::rpc {
namespace {

void Fill(const bundle::ErrorMeasures& from, v1::ErrorMeasures* out) {
  out->set_sqnr_db(from.sqnr_db);
  out->set_cosine(from.cosine);
  out->set_max_error(from.max_error);
}

void Fill(const bundle::HistogramReport& from, v1::HistogramReport* out) {
  out->set_min(from.min);
  out->set_max(from.max);
  out->mutable_counts()->Assign(from.counts.begin(), from.counts.end());
}

void Fill(const bundle::ChannelSpread& from, v1::ChannelSpread* out) {
  out->set_min(from.min);
  out->set_p25(from.p25);
  out->set_median(from.median);
  out->set_p75(from.p75);
  out->set_p99(from.p99);
  out->set_max(from.max);
}

void Fill(const bundle::TensorReport& from, v1::TensorReport* out) {
  if (from.channels == 0) return;
  out->set_channels(from.channels);
  out->set_min(from.min);
  out->set_max(from.max);
  out->set_sigma(from.sigma);
  out->set_clip_min(from.clip_min);
  out->set_clip_max(from.clip_max);
  out->set_clipped_share(from.clipped_share);
  Fill(from.histogram, out->mutable_histogram());
  Fill(from.channel_absmax, out->mutable_channel_absmax());
  for (const bundle::ChannelReport& channel : from.largest_channels) {
    v1::ChannelReport* item = out->add_largest_channels();
    item->set_channel(channel.channel);
    item->set_absmax(channel.absmax);
  }
}

void Fill(const bundle::CalibratorReport& from, v1::CalibratorReport* out) {
  out->set_calibrator(from.calibrator);
  out->set_min(from.min);
  out->set_max(from.max);
  out->set_chosen(from.chosen);
}

void Fill(const bundle::CandidateReport& from, v1::CandidateReport* out) {
  out->set_name(from.name);
  out->set_scheme(ToProto(from.scheme));
  Fill(from.output_error, out->mutable_output_error());
  out->set_stored_bytes(static_cast<int64_t>(from.stored_bytes));
  out->set_microseconds(from.microseconds);
  out->set_chosen(from.chosen);
}

void FillDetails(const bundle::LayerReport& from, v1::LayerReport* out) {
  out->set_shares_input_with(from.shares_input_with);
  Fill(from.weights, out->mutable_weights());
  Fill(from.activations, out->mutable_activations());
  for (const bundle::CalibratorReport& calibrator : from.calibrators) {
    Fill(calibrator, out->add_calibrators());
  }
  for (const bundle::CandidateReport& candidate : from.candidates) {
    Fill(candidate, out->add_candidates());
  }
}

void Fill(const bundle::LayerReport& from, v1::LayerReport* out) {
  out->set_layer(from.layer);
  out->set_scheme(ToProto(from.scheme));
  out->set_out_features(from.rows);
  out->set_in_features(from.cols);
  out->set_float_bytes(static_cast<int64_t>(from.float_bytes));
  out->set_stored_bytes(static_cast<int64_t>(from.stored_bytes));
  Fill(from.weight, out->mutable_weight_error());
  Fill(from.output, out->mutable_output_error());
  out->set_output_rows(from.output_rows);
  out->set_zero_channels(from.zero_channels);
  out->set_outlier_columns(from.outlier_columns);
  out->set_outlier_threshold(from.outlier_threshold);
  out->set_outlier_value_share(from.outlier_value_share);
  out->set_smoothing_alpha(from.smoothing_alpha);
  out->set_smoothing_folded_into(from.smoothing_folded_into);
  out->set_hadamard_block(from.hadamard_block);
  out->set_group_size(from.group_size);
  out->set_rounding(from.rounding);
  out->set_bias_correction(from.bias_correction);
  out->set_reason(from.reason);
  FillDetails(from, out);
}

void Fill(const bundle::BudgetReport& from, v1::BudgetReport* out) {
  out->set_measure(from.measure);
  out->set_limit(from.limit);
  out->set_reached(from.reached);
  out->set_held(from.held);
}

void Fill(const bundle::FrontierPoint& from, v1::FrontierPoint* out) {
  out->set_name(from.name);
  out->set_stored_bytes(static_cast<int64_t>(from.stored_bytes));
  out->set_relative_error(from.relative_error);
  out->set_mean_row_cosine(from.mean_row_cosine);
  out->set_microseconds(from.microseconds);
  out->set_measured(from.measured);
  out->set_chosen(from.chosen);
}

void FillSizes(const bundle::QuantizationReport& from,
               v1::QuantizationReport* out) {
  out->set_linear_float_bytes(static_cast<int64_t>(from.linear_float_bytes));
  out->set_linear_stored_bytes(static_cast<int64_t>(from.linear_stored_bytes));
  out->set_checkpoint_bytes(static_cast<int64_t>(from.checkpoint_bytes));
  out->set_bundle_bytes(static_cast<int64_t>(from.bundle_bytes));
}

}  // namespace

void FillReport(const bundle::QuantizationReport& from,
                v1::QuantizationReport* out) {
  for (const bundle::LayerReport& layer : from.layers) {
    Fill(layer, out->add_layers());
  }
  Fill(from.model, out->mutable_model_error());
  out->set_mean_row_cosine(from.mean_row_cosine);
  out->set_worst_row_cosine(from.worst_row_cosine);
  out->set_model_rows(from.model_rows);
  out->set_tuned_rows(from.tuned_rows);
  FillSizes(from, out);
  out->set_calibration_samples(static_cast<int64_t>(from.calibration_samples));
  out->set_policy(from.policy);
  for (const bundle::BudgetReport& budget : from.budgets) {
    Fill(budget, out->add_budgets());
  }
  out->set_verified_plans(from.verified_plans);
  for (const bundle::FrontierPoint& point : from.frontier) {
    Fill(point, out->add_frontier());
  }
  out->set_speed_rows(from.speed_rows);
  out->set_speed_kernel(from.speed_kernel);
  out->mutable_warnings()->Assign(from.warnings.begin(), from.warnings.end());
  out->set_summary(bundle::Summary(from));
}

}  // namespace octet::rpc
