// What quantization did to a model: the numbers a bundle carries about itself.
//
//   SQNR = 10 log10( sum y^2 / sum (y - y_int8)^2 )           in dB
//   cosine = <y, y_int8> / (|y| |y_int8|)
//   max error = max |y - y_int8|
//
// Bounded by layers, not by their size: of a tensor there are kReportBins
// counts and kReportChannels channels. docs/report.md is the reference of the
// JSON.

#ifndef OCTET_SERVER_BUNDLE_REPORT_H_
#define OCTET_SERVER_BUNDLE_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "server/model/scheme.h"

namespace octet::bundle {

inline constexpr size_t kReportBins = 64;
inline constexpr size_t kReportChannels = 12;

struct ErrorMeasures {
  double sqnr_db = 0.0;  // +infinity when exact
  double cosine = 1.0;
  double max_error = 0.0;
};

// Counts of values in equal bins over [min, max].
struct HistogramReport {
  double min = 0.0;
  double max = 0.0;
  std::vector<uint64_t> counts;  // empty: not known
};

// Quantiles over the channels of a tensor of each channel's max |x|.
struct ChannelSpread {
  double min = 0.0;
  double p25 = 0.0;
  double median = 0.0;
  double p75 = 0.0;
  double p99 = 0.0;
  double max = 0.0;
};

struct ChannelReport {
  int64_t channel = 0;
  double absmax = 0.0;
};

// The values of a weight (channels: its outputs) or of a linear's input
// (channels: its features). No channels: not known.
struct TensorReport {
  int64_t channels = 0;
  double min = 0.0;
  double max = 0.0;
  double sigma = 0.0;  // standard deviation
  // What codes can hold; of a weight, the widest channel's. Equal: no fixed
  // range (float, or scaled row by row).
  double clip_min = 0.0;
  double clip_max = 0.0;
  double clipped_share = 0.0;  // of the values, beyond the clip
  HistogramReport histogram;
  ChannelSpread channel_absmax;
  std::vector<ChannelReport> largest_channels;  // by absmax, largest first
};

// The range one calibrator would give a layer's input.
struct CalibratorReport {
  std::string calibrator;
  double min = 0.0;
  double max = 0.0;
  bool chosen = false;
};

// A way to quantize a layer that was tried.
struct CandidateReport {
  std::string name;  // of scheme and methods, for people
  model::Scheme scheme = model::Scheme::kFp32;
  ErrorMeasures output_error;
  uint64_t stored_bytes = 0;
  double microseconds = 0.0;  // for speed_rows rows; 0: not measured
  bool chosen = false;
};

struct LayerReport {
  std::string layer;
  model::Scheme scheme = model::Scheme::kFp32;
  int64_t rows = 0;           // N
  int64_t cols = 0;           // K
  uint64_t float_bytes = 0;   // the weight in FP32
  uint64_t stored_bytes = 0;  // codes, scales, outlier rows
  ErrorMeasures weight;       // dequantized against float weights
  ErrorMeasures output;       // this layer alone quantized, on float inputs
  int64_t output_rows = 0;  // activation rows `output` was measured on; 0: not
  int64_t zero_channels = 0;  // all-zero output channels
  int64_t outlier_columns = 0;
  double outlier_threshold = 0.0;    // |x| from which a value is one; 0: none
  double outlier_value_share = 0.0;  // of the input's values, by calibration
  double smoothing_alpha = -1.0;     // negative: not smoothed
  // Layer whose outputs come divided, so that this one need not divide; empty:
  // the smoothing, if any, is a part of quantizing the input.
  std::string smoothing_folded_into;
  uint32_t hadamard_block = 0;  // 0: not rotated
  uint32_t group_size = 0;      // 0: a scale per output channel
  std::string rounding;         // "nearest", "gptq"; empty: float
  bool bias_correction = false;
  std::string reason;  // why it is not INT8, when it is not
  // First layer that reads the same input; `activations` and `calibrators`
  // stand there and are empty here. Empty: this one.
  std::string shares_input_with;
  TensorReport weights;
  TensorReport activations;
  std::vector<CalibratorReport> calibrators;
  std::vector<CandidateReport> candidates;
};

// A limit the user set.
struct BudgetReport {
  std::string measure;  // "min_mean_cosine", "max_bytes", ..
  double limit = 0.0;
  double reached = 0.0;
  bool held = false;
};

// A plan for the whole model: chosen, or on the way to the chosen one.
struct FrontierPoint {
  std::string name;
  uint64_t stored_bytes = 0;    // linear weights
  double relative_error = 0.0;  // |y - y_int8| / |y| of the model's output
  double mean_row_cosine = 0.0;
  double microseconds = 0.0;  // all linears, for speed_rows rows; 0: unknown
  bool measured = false;      // on the whole model; else predicted from layers
  bool chosen = false;
};

struct QuantizationReport {
  std::vector<LayerReport> layers;
  ErrorMeasures model;         // whole-model output, INT8 against FP32
  double mean_row_cosine = 0;  // over rows of the model's output
  double worst_row_cosine = 0;
  int64_t model_rows = 0;  // rows these were measured on; 0: not measured
  int64_t tuned_rows = 0;  // of these, rows that the plan knows
  uint64_t linear_float_bytes = 0;
  uint64_t linear_stored_bytes = 0;
  uint64_t checkpoint_bytes = 0;  // tensors of the checkpoint, as FP32
  uint64_t bundle_bytes = 0;      // tensors of the bundle
  uint64_t calibration_samples = 0;
  std::string policy = "fixed";  // or "auto"
  std::vector<BudgetReport> budgets;
  int64_t verified_plans = 0;  // whole-model checks until the budgets held
  std::vector<FrontierPoint> frontier;
  int64_t speed_rows = 0;    // M of every `microseconds`
  std::string speed_kernel;  // and the kernels that ran: "avx512vnni"
  std::vector<std::string> warnings;
};

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_REPORT_H_
