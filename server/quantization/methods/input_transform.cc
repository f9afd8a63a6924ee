#include "server/quantization/methods/input_transform.h"

#include <algorithm>

#include "kernels/hadamard.h"

namespace octet::quantization {

using kernels::MatrixView;

InputTransform::InputTransform(const LayerPlan& plan)
    : outlier_columns(plan.outlier_columns),
      hadamard_block(plan.scheme.hadamard_block) {
  inverse_smoothing.reserve(plan.smoothing.size());
  for (const float factor : plan.smoothing) {
    inverse_smoothing.push_back(1.0F / factor);
  }
}

void InputTransform::ApplyToInputs(MatrixView<float> rows) const {
  for (size_t i = 0; i < rows.rows; ++i) {
    float* const row = rows.row(i);
    for (size_t k = 0; k < inverse_smoothing.size(); ++k) {
      row[k] *= inverse_smoothing[k];
    }
    for (const int32_t column : outlier_columns) row[column] = 0.0F;
  }
  if (hadamard_block != 0) kernels::RotateRows(rows, hadamard_block);
}

void InputTransform::ApplyToWeights(MatrixView<float> rows) const {
  for (size_t i = 0; i < rows.rows; ++i) {
    float* const row = rows.row(i);
    for (size_t k = 0; k < inverse_smoothing.size(); ++k) {
      row[k] /= inverse_smoothing[k];
    }
    for (const int32_t column : outlier_columns) row[column] = 0.0F;
  }
  if (hadamard_block != 0) kernels::RotateRows(rows, hadamard_block);
}

std::vector<float> TransformedInputs(const LayerPlan& plan,
                                     MatrixView<const float> x) {
  std::vector<float> rows(x.rows * x.cols);
  for (size_t i = 0; i < x.rows; ++i) {
    std::copy_n(x.row(i), x.cols, rows.data() + i * x.cols);
  }
  InputTransform(plan).ApplyToInputs({rows.data(), x.rows, x.cols});
  return rows;
}

}  // namespace octet::quantization
