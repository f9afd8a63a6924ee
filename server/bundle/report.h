// What quantization did to a model: the numbers a bundle carries about itself.
//
//   SQNR = 10 log10( sum y^2 / sum (y - y_int8)^2 )           in dB
//   cosine = <y, y_int8> / (|y| |y_int8|)
//   max error = max |y - y_int8|

#ifndef OCTET_SERVER_BUNDLE_REPORT_H_
#define OCTET_SERVER_BUNDLE_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/model/scheme.h"

namespace octet::bundle {

struct ErrorMeasures {
  double sqnr_db = 0.0;  // +infinity when exact
  double cosine = 1.0;
  double max_error = 0.0;
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
  std::string reason;  // why it is not INT8, when it is not
};

struct QuantizationReport {
  std::vector<LayerReport> layers;
  ErrorMeasures model;         // whole-model output, INT8 against FP32
  double mean_row_cosine = 0;  // over rows of the model's output
  double worst_row_cosine = 0;
  int64_t model_rows = 0;  // rows these were measured on; 0: not measured
  uint64_t linear_float_bytes = 0;
  uint64_t linear_stored_bytes = 0;
  uint64_t checkpoint_bytes = 0;  // tensors of the checkpoint, as FP32
  uint64_t bundle_bytes = 0;      // tensors of the bundle
  std::vector<std::string> warnings;
};

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_REPORT_H_
