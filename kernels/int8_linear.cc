#include "kernels/int8_linear.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "kernels/cpu_features.h"
#include "kernels/element_type.h"
#include "kernels/hadamard.h"
#include "kernels/int8_layer.h"
#include "kernels/linear_io.h"
#include "kernels/linear_partition.h"
#include "kernels/linear_task.h"
#include "kernels/matrix_view.h"
#include "kernels/onednn_gemm.h"
#include "kernels/phase_clock.h"
#include "kernels/registry.h"
#include "kernels/shape_check.h"
#include "kernels/status_macros.h"
#include "kernels/thread_pool.h"

namespace octet::kernels {
namespace {

constexpr size_t kMaxK = size_t{1} << 24;  // column sums stay in int32

absl::Status CheckScale(absl::string_view field, float scale) {
  if (scale > 0.0F && std::isfinite(scale)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      field, " is ", scale, "; expected a positive finite number"));
}

absl::Status CheckGroups(const Int8LinearSpec& spec) {
  const size_t n = spec.codes.rows;
  const size_t size = spec.group_size;
  if (size == 0) {
    if (spec.scales.size() == n) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("scales holds ", spec.scales.size(), " values; codes has ",
                     n, " rows"));
  }
  if (size != 32 && size != 64 && size != 128 && size != 256) {
    return absl::InvalidArgumentError(absl::StrCat(
        "group_size is ", size, "; expected 32, 64, 128, 256 or 0 (none)"));
  }
  const size_t groups = (spec.codes.cols + size - 1) / size;
  if (spec.scales.size() == n * groups) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("scales holds ", spec.scales.size(), " values; codes has ",
                   n, " rows of ", groups, " groups of ", size));
}

absl::Status CheckTransforms(const Int8LinearSpec& spec) {
  const auto& factors = spec.inverse_smoothing;
  if (!factors.empty() && factors.size() != spec.codes.cols) {
    return absl::InvalidArgumentError(
        absl::StrCat("inverse_smoothing holds ", factors.size(),
                     " values; codes has ", spec.codes.cols, " columns"));
  }
  for (size_t i = 0; i < factors.size(); ++i) {
    RETURN_IF_ERROR(
        CheckScale(absl::StrCat("inverse_smoothing[", i, "]"), factors[i]));
  }
  const size_t block = spec.hadamard_block;
  if (block == 0 || IsHadamardBlock(block)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "hadamard_block is ", block, "; expected a power of two from 2 to ",
      kMaxHadamardBlock, ", or 0 (none)"));
}

absl::Status CheckWeights(const Int8LinearSpec& spec) {
  const size_t n = spec.codes.rows;
  const size_t k = spec.codes.cols;
  if (n == 0 || k == 0 || k >= kMaxK) {
    return absl::InvalidArgumentError(
        absl::StrCat("codes has shape [", n, ", ", k,
                     "]; expected N >= 1 and 1 <= K < ", kMaxK));
  }
  RETURN_IF_ERROR(CheckShape("codes", spec.codes, n, k));
  RETURN_IF_ERROR(CheckGroups(spec));
  for (size_t i = 0; i < spec.scales.size(); ++i) {
    RETURN_IF_ERROR(
        CheckScale(absl::StrCat("scales[", i, "]"), spec.scales[i]));
  }
  if (!spec.bias.empty() && spec.bias.size() != n) {
    return absl::InvalidArgumentError(absl::StrCat(
        "bias holds ", spec.bias.size(), " values; codes has ", n, " rows"));
  }
  return absl::OkStatus();
}

absl::Status CheckActivations(const Int8LinearSpec& spec) {
  if (spec.coding != ActivationCoding::kStaticAffine) return absl::OkStatus();
  RETURN_IF_ERROR(CheckScale("input_scale", spec.input_scale));
  if (spec.input_zero_point < 0 || spec.input_zero_point > 255) {
    return absl::InvalidArgumentError(absl::StrCat(
        "input_zero_point is ", spec.input_zero_point, "; expected 0 to 255"));
  }
  return absl::OkStatus();
}

absl::Status CheckOutliers(const Int8LinearSpec& spec) {
  if (!(spec.outlier_threshold >= 0.0F)) {
    return absl::InvalidArgumentError(
        absl::StrCat("outlier_threshold is ", spec.outlier_threshold,
                     "; expected 0 (none) or more"));
  }
  const auto& columns = spec.outlier_columns;
  for (size_t i = 0; i < columns.size(); ++i) {
    const int64_t lowest = i == 0 ? 0 : int64_t{columns[i - 1]} + 1;
    if (columns[i] >= lowest && columns[i] < spec.codes.cols) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("outlier_columns[", i, "] is ", columns[i], "; expected ",
                     lowest, " to ", spec.codes.cols - 1, ", in rising order"));
  }
  if (columns.empty()) return absl::OkStatus();
  return CheckShape("outlier_weights", spec.outlier_weights, columns.size(),
                    spec.codes.rows);
}

// What is known before anything is packed.
absl::Status CheckBackend(const Kernel& kernel, const Int8LinearSpec& spec) {
  if (spec.backend == Int8Backend::kOwn) return absl::OkStatus();
  if (spec.group_size != 0) {
    return absl::UnimplementedError(
        absl::StrCat("oneDNN knows no scales per group of K; group_size is ",
                     spec.group_size));
  }
  if (OneDnnMultipliesInt8(HostFeatures()) && kernel.takes_u8()) {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(absl::StrCat(
      "oneDNN's INT8 sums are exact on CPUs with AVX512-VNNI; what runs here, "
      "by CPU or OCTET_MAX_ISA, is ",
      std::string(IsaName(kernel.isa))));
}

absl::Status CheckRowScales(absl::string_view field, size_t scales,
                            size_t rows) {
  if (scales == rows) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("row_scales of ", field, " holds ", scales,
                   " values; it has ", rows, " rows"));
}

absl::Status CheckColumns(size_t first, size_t count, size_t n, size_t step) {
  const size_t end = first + count;
  if (count > 0 && count <= n && first <= n - count && first % step == 0 &&
      (end == n || end % step == 0)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("columns [", first, ", ", end, ") of ", n,
                   "; expected multiples of ", step, " inside"));
}

absl::Status CheckCodesIn(const Int8Layer& layer, const LinearInput& x) {
  if (x.type != ElementType::kCode) return absl::OkStatus();
  if (layer.has_outliers()) {
    return absl::InvalidArgumentError(
        "x holds codes; a layer with outliers needs floats");
  }
  return CheckRowScales("x", x.row_scales.size(), x.rows);
}

absl::Status CheckCodesOut(const LinearOutput& y) {
  if (y.type != ElementType::kCode) return absl::OkStatus();
  RETURN_IF_ERROR(CheckScale("scale of y", y.scale));
  if (y.zero_point < 0 || y.zero_point > 255) {
    return absl::InvalidArgumentError(absl::StrCat(
        "zero_point of y is ", y.zero_point, "; expected 0 to 255"));
  }
  return CheckRowScales("y", y.row_scales.size(), y.rows);
}

// Sums of task times from several threads.
struct SharedTimes {
  std::atomic<uint64_t> quantize = 0;
  std::atomic<uint64_t> dot = 0;
  std::atomic<uint64_t> dequantize = 0;
  std::atomic<uint64_t> outlier = 0;

  void Add(const PhaseTimes& times) {
    quantize += times.quantize_ns;
    dot += times.dot_ns;
    dequantize += times.dequantize_ns;
    outlier += times.outlier_ns;
  }
  PhaseTimes Sum() const { return {quantize, dot, dequantize, outlier}; }
};

// Blocks of rows follow each other within a range of panels, so that threads
// read the same weights at about the same time. y begins with column `first`.
void RunTasks(const Int8Layer& layer, size_t first, const LinearInput& x,
              const LinearOutput& y, const LinearCall& call) {
  const size_t threads = call.pool == nullptr ? 1 : call.pool->threads();
  const bool by_onednn = !layer.onednn.empty() && y.cols == layer.weights.n();
  const size_t nr = layer.kernel.nr;
  const size_t unit = by_onednn ? kOneDnnColumns : nr;  // columns never cut
  const Partition partition =
      Divide({x.rows, y.cols, x.cols, layer.group_size != 0, unit},
             layer.kernel, threads, HostFeatures().feed.slice_bytes);
  const EvenParts row_blocks(x.rows, partition.row_blocks);
  const EvenParts units((y.cols + unit - 1) / unit, partition.panel_blocks);
  const auto run = [&](size_t index) {
    const Range rows = row_blocks[index % partition.row_blocks];
    LinearTask task;
    task.x = x.Rows(rows.begin, rows.size());
    task.y = y.Rows(rows.begin, rows.size());
    if (call.residual.data != nullptr) {
      task.residual = call.residual.Rows(rows.begin, rows.size());
    }
    task.activation = call.activation;
    const Range part = units[index / partition.row_blocks];
    const size_t end = first + std::min(part.end * unit, y.cols);
    task.panels = {(first + part.begin * unit) / nr, (end + nr - 1) / nr};
    task.first_column = first;
    task.slice_groups = partition.slice_groups;
    task.by_onednn = by_onednn;
    task.timed = call.times != nullptr;
    return RunLinearTask(layer, task);
  };
  if (call.pool != nullptr && partition.parallel && partition.tasks() > 1) {
    SharedTimes shared;
    call.pool->ParallelFor(partition.tasks(),
                           [&](size_t index) { shared.Add(run(index)); });
    if (call.times != nullptr) *call.times += shared.Sum();
    return;
  }
  for (size_t i = 0; i < partition.tasks(); ++i) {
    const PhaseTimes times = run(i);
    if (call.times != nullptr) *call.times += times;
  }
}

}  // namespace

Int8Linear::Int8Linear(std::unique_ptr<Int8Layer> layer)
    : layer_(std::move(layer)) {}
Int8Linear::Int8Linear(Int8Linear&&) noexcept = default;
Int8Linear& Int8Linear::operator=(Int8Linear&&) noexcept = default;
Int8Linear::~Int8Linear() = default;

absl::StatusOr<Int8Linear> Int8Linear::Create(const Int8LinearSpec& spec) {
  return CreateWith(SelectKernel(HostFeatures()), spec);
}

absl::StatusOr<Int8Linear> Int8Linear::CreateWith(const Kernel& kernel,
                                                  const Int8LinearSpec& spec) {
  RETURN_IF_ERROR(CheckWeights(spec));
  RETURN_IF_ERROR(CheckActivations(spec));
  RETURN_IF_ERROR(CheckOutliers(spec));
  RETURN_IF_ERROR(CheckTransforms(spec));
  RETURN_IF_ERROR(CheckBackend(kernel, spec));
  const bool in_parts =
      spec.group_size != 0 || spec.codes.cols > kMaxExactKWithMinimum;
  auto layer = std::make_unique<Int8Layer>(
      in_parts ? KernelForParts(kernel) : kernel, spec);
  if (spec.backend == Int8Backend::kOneDnn && layer->onednn.empty()) {
    return absl::UnimplementedError(
        absl::StrCat("oneDNN has no exact INT8 product with weights of shape [",
                     spec.codes.rows, ", ", spec.codes.cols, "]"));
  }
  return Int8Linear(std::move(layer));
}

absl::Status Int8Linear::Run(MatrixView<const float> x, MatrixView<float> y,
                             const LinearCall& call) const {
  return Run(LinearInput::Fp32(x), LinearOutput::Fp32(y), call);
}

absl::Status Int8Linear::Run(const LinearInput& x, const LinearOutput& y,
                             const LinearCall& call) const {
  RETURN_IF_ERROR(CheckShape("x", x, x.rows, in_features()));
  RETURN_IF_ERROR(CheckShape("y", y, x.rows, out_features()));
  RETURN_IF_ERROR(CheckCodesIn(*layer_, x));
  RETURN_IF_ERROR(CheckCodesOut(y));
  if (call.residual.data != nullptr) {
    RETURN_IF_ERROR(
        CheckShape("residual", call.residual, x.rows, out_features()));
  }
  if (x.rows > 0) RunTasks(*layer_, 0, x, y, call);
  return absl::OkStatus();
}

absl::Status Int8Linear::RunColumns(size_t first, MatrixView<const float> x,
                                    MatrixView<float> y,
                                    const LinearCall& call) const {
  RETURN_IF_ERROR(
      CheckColumns(first, y.cols, out_features(), layer_->kernel.nr));
  RETURN_IF_ERROR(CheckShape("x", x, x.rows, in_features()));
  RETURN_IF_ERROR(CheckShape("y", y, x.rows, y.cols));
  if (call.residual.data != nullptr) {
    RETURN_IF_ERROR(CheckShape("residual", call.residual, x.rows, y.cols));
  }
  if (x.rows > 0) {
    RunTasks(*layer_, first, LinearInput::Fp32(x), LinearOutput::Fp32(y), call);
  }
  return absl::OkStatus();
}

size_t Int8Linear::ColumnStep() { return SelectKernel(HostFeatures()).nr; }

const RowCoding& Int8Linear::input_coding() const { return layer_->coding; }

size_t Int8Linear::in_features() const { return layer_->weights.k(); }
size_t Int8Linear::out_features() const { return layer_->weights.n(); }
size_t Int8Linear::packed_bytes() const { return layer_->bytes(); }
std::string_view Int8Linear::kernel_name() const {
  return layer_->onednn.empty() ? layer_->kernel.name : "onednn_brgemm_u8s8";
}
std::string_view Int8Linear::isa() const { return IsaName(layer_->kernel.isa); }

}  // namespace octet::kernels
