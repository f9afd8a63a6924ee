// How much a model's output suffers from noise in the linears that read one
// input.
//
//   gain = harm of the output / noise of the layers,
//   harm = E[1 - cos(y, y')]            for a budget of cosine
//        = |y - y'|^2 / |y|^2           for one of relative error
//
// y' with these layers alone quantized. Small independent errors add up, and
// grow alike through the rest of the model: harm of a plan ~ sum of
// gain * noise, each layer's noise measured on it alone (trial.h). That saves a
// run of the model for every way to quantize every layer; what it misses is
// found when the whole plan is verified.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_SENSITIVITY_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_SENSITIVITY_H_

#include <cstddef>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/thread_pool.h"
#include "server/model/model.h"

namespace octet::quantization {

// Of a model's output against the float model's.
struct Harm {
  double mean_cosine_loss = 0.0;   // mean of 1 - cos over rows
  double cosine_loss_error = 0.0;  // standard error of that mean
  double worst_cosine = 1.0;
  double relative_square = 0.0;  // |y - y'|^2 / |y|^2 over all rows
  size_t rows = 0;
};

Harm Compare(const std::vector<model::ModelOutput>& expected,
             const std::vector<model::ModelOutput>& actual);

// The model's output for each batch.
absl::StatusOr<std::vector<model::ModelOutput>> RunBatches(
    const model::Model& model, const std::vector<model::ModelInput>& batches,
    const model::LinearSubstitutes* substitutes, kernels::ThreadPool* pool,
    const std::function<bool()>& cancelled);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_SENSITIVITY_H_
