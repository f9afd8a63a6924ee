// What calibration kept of a linear's input for searches that need rows: the
// layer's true output error, GPTQ's Hessian, smoothing.

#ifndef OCTET_SERVER_QUANTIZATION_CALIBRATION_LAYER_SAMPLES_H_
#define OCTET_SERVER_QUANTIZATION_CALIBRATION_LAYER_SAMPLES_H_

#include <vector>

#include "kernels/matrix_view.h"

namespace octet::quantization {

struct LayerSamples {
  // [R, K]: a uniform sample of the rows seen, in random order (the first rows
  // of it are a uniform sample too). R = 0 where nothing was kept. Points into
  // the calibration.
  kernels::MatrixView<const float> rows;
  // Over all rows seen, not only those kept; empty when none were seen.
  std::vector<double> column_mean;         // [K], E[x]
  std::vector<double> column_mean_square;  // [K], E[x^2]
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_CALIBRATION_LAYER_SAMPLES_H_
