// The weights of one linear, ready to run, whatever their scheme.
//
// Tensors of layer P, as a bundle names them:
//   P.weight             [N, K]  F32 / F16 / BF16, or I8
//   P.bias               [N]     float, optional
//   P.weight_scale       [N, G]  F32, with I8 weights; G = 1 without groups
//   P.inverse_smoothing  [K]     F32, positive, where the scheme is smoothed
//   P.input_scale        [1]     F32, w8a8_static
//   P.input_zero_point   [1]     I8, w8a8_static; u8 zero point minus 128
//   P.outlier_columns    [C]     I32, sorted, llm_int8
//   P.outlier_weight     [C, N]  F16, llm_int8

#ifndef OCTET_SERVER_MODEL_LINEAR_LAYER_H_
#define OCTET_SERVER_MODEL_LINEAR_LAYER_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/int8_linear.h"
#include "kernels/matrix_view.h"
#include "server/model/graph.h"
#include "server/model/scheme.h"
#include "server/model/tensor.h"

namespace octet::model {

class LinearLayer {
 public:
  virtual ~LinearLayer() = default;

  // x [M, K] -> y [M, N]. A row's result does not depend on other rows.
  virtual absl::Status Run(kernels::MatrixView<const float> x,
                           kernels::MatrixView<float> y,
                           const kernels::LinearCall& call) const = 0;

  // The product underneath, or nullptr where the scheme is a float's.
  virtual const kernels::Int8Linear* int8() const { return nullptr; }

  virtual size_t weight_bytes() const = 0;  // resident
  virtual std::string_view kernel_name() const = 0;
  virtual std::string_view isa() const = 0;
};

// What is decided where a layer runs, not by its plan. Results are the same.
struct LinearOptions {
  kernels::Int8Backend int8_backend = kernels::Int8Backend::kOwn;
  // Hears of each layer that oneDNN has nothing exact for, and why; Octet's own
  // kernel runs it then.
  std::function<void(std::string_view layer, const absl::Status& why)>
      on_fallback = nullptr;
};

// Errors: NOT_FOUND or INVALID_ARGUMENT naming the tensor.
absl::StatusOr<std::unique_ptr<LinearLayer>> MakeLinearLayer(
    const Linear& linear, const LinearScheme& scheme,
    const TensorSource& tensors, const LinearOptions& options = {});

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_LINEAR_LAYER_H_
