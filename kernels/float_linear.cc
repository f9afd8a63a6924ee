#include "kernels/float_linear.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/aligned_buffer.h"
#include "kernels/cpu_features.h"
#include "kernels/float_activation.h"
#include "kernels/float_tasks.h"
#include "kernels/onednn_gemm.h"
#include "kernels/shape_check.h"
#include "kernels/status_macros.h"

namespace octet::kernels {
namespace {

// One task: 64 x 384 results are 96 KiB, the weights of 384 columns at K = 384
// are 576 KiB. Both stay in L2 while every block of rows passes over them.
constexpr size_t kTaskRows = 64;
constexpr size_t kTaskCols = 384;

size_t Blocks(size_t n, size_t block) { return (n + block - 1) / block; }

float* ThreadBuffer(std::vector<float>& buffer, size_t size) {
  if (buffer.size() < size) buffer.resize(size);
  return buffer.data();
}

// W x for the columns of one task.
class Multiplier {
 public:
  virtual ~Multiplier() = default;
  virtual bool Run(MatrixView<const float> x, MatrixView<float> y) const = 0;
  virtual size_t packed_bytes() const = 0;
};

class OneDnnMultiplier : public Multiplier {
 public:
  explicit OneDnnMultiplier(std::unique_ptr<OneDnnGemm> gemm)
      : gemm_(std::move(gemm)) {}

  // oneDNN fixes strides when it compiles: rows with other strides go through
  // a buffer, which a task's block of rows leaves in the cache.
  bool Run(MatrixView<const float> x, MatrixView<float> y) const override {
    static thread_local std::vector<float> x_buffer;
    static thread_local std::vector<float> y_buffer;
    const float* from = x.data;
    if (x.stride != x.cols) {
      float* copy = ThreadBuffer(x_buffer, x.rows * x.cols);
      for (size_t m = 0; m < x.rows; ++m) {
        std::copy_n(x.row(m), x.cols, copy + m * x.cols);
      }
      from = copy;
    }
    if (y.stride == y.cols) return gemm_->Run(from, x.rows, y.data);
    float* to = ThreadBuffer(y_buffer, y.rows * y.cols);
    if (!gemm_->Run(from, x.rows, to)) return false;
    for (size_t m = 0; m < y.rows; ++m) {
      std::copy_n(to + m * y.cols, y.cols, y.row(m));
    }
    return true;
  }

  size_t packed_bytes() const override { return gemm_->packed_bytes(); }

 private:
  std::unique_ptr<OneDnnGemm> gemm_;
};

// Panels [K, panel columns], the last one filled up with zeros, aligned like
// INT8 weights (aligned_buffer.h).
template <typename T>
class PanelMultiplier : public Multiplier {
 public:
  PanelMultiplier(MatrixView<const T> w, size_t panel_cols,
                  void (*run)(const PanelTask&))
      : panel_(panel_cols),
        run_(run),
        packed_(Blocks(w.rows, panel_cols) * panel_cols * w.cols * sizeof(T)) {
    for (size_t n = 0; n < w.rows; ++n) {
      T* panel = packed_.As<T>() + n / panel_ * panel_ * w.cols + n % panel_;
      for (size_t k = 0; k < w.cols; ++k) panel[k * panel_] = w.row(n)[k];
    }
  }

  bool Run(MatrixView<const float> x, MatrixView<float> y) const override {
    for (size_t n = 0; n < y.cols; n += panel_) {
      run_({.a = x.data,
            .lda = x.stride,
            .rows = x.rows,
            .b = packed_.As<T>() + n * x.cols,
            .k = x.cols,
            .c = y.data + n,
            .ldc = y.stride,
            .cols = std::min(panel_, y.cols - n)});
    }
    return true;
  }

  size_t packed_bytes() const override { return packed_.size(); }

 private:
  size_t panel_;
  void (*run_)(const PanelTask&);
  AlignedBuffer packed_;
};

void AddBias(const float* bias, MatrixView<float> y) {
  for (size_t m = 0; m < y.rows; ++m) {
    float* row = y.row(m);
    for (size_t n = 0; n < y.cols; ++n) row[n] += bias[n];
  }
}

void AddResidual(MatrixView<const float> residual, MatrixView<float> y) {
  for (size_t m = 0; m < y.rows; ++m) {
    const float* from = residual.row(m);
    float* row = y.row(m);
    for (size_t n = 0; n < y.cols; ++n) row[n] += from[n];
  }
}

}  // namespace

class FloatLinear::Impl {
 public:
  template <typename T>
  absl::Status CheckShapes(MatrixView<const T> w,
                           absl::Span<const float> bias) {
    if (w.rows == 0 || w.cols == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("weight has shape [", w.rows, ", ", w.cols,
                       "]; expected at least [1, 1]"));
    }
    RETURN_IF_ERROR(CheckShape("weight", w, w.rows, w.cols));
    if (!bias.empty() && bias.size() != w.rows) {
      return absl::InvalidArgumentError(absl::StrCat(
          "bias holds ", bias.size(), " values; weight has ", w.rows, " rows"));
    }
    n_ = w.rows;
    k_ = w.cols;
    bias_.assign(bias.begin(), bias.end());
    return absl::OkStatus();
  }

  // All columns through oneDNN, or none: false, and nothing is kept.
  bool PackOneDnn(MatrixView<const float> w) {
    if (!OneDnnMultipliesFp32(HostFeatures())) return false;
    for (size_t n = 0; n < n_; n += kTaskCols) {
      auto gemm = OneDnnGemm::Create(w.Rows(n, std::min(kTaskCols, n_ - n)));
      if (gemm == nullptr) {
        multipliers_.clear();
        return false;
      }
      multipliers_.push_back(
          std::make_unique<OneDnnMultiplier>(std::move(gemm)));
    }
    kernel_name_ = "onednn_brgemm_fp32";
    isa_ = "avx512";
    return true;
  }

  template <typename T>
  void PackPanels(MatrixView<const T> w, void (*run)(const PanelTask&),
                  std::string_view name) {
    const FloatCompanions& companions = HostFloatCompanions();
    for (size_t n = 0; n < n_; n += kTaskCols) {
      multipliers_.push_back(std::make_unique<PanelMultiplier<T>>(
          w.Rows(n, std::min(kTaskCols, n_ - n)), companions.panel_cols, run));
    }
    kernel_name_ = name;
    isa_ = companions.isa;
  }

  absl::Status CheckCall(MatrixView<const float> x, MatrixView<float> y,
                         const LinearCall& call) const {
    RETURN_IF_ERROR(CheckShape("x", x, x.rows, k_));
    RETURN_IF_ERROR(CheckShape("y", y, x.rows, n_));
    if (call.residual.data == nullptr) return absl::OkStatus();
    return CheckShape("residual", call.residual, x.rows, n_);
  }

  absl::Status Run(MatrixView<const float> x, MatrixView<float> y,
                   const LinearCall& call) const {
    RETURN_IF_ERROR(CheckCall(x, y, call));
    const size_t row_blocks = Blocks(x.rows, kTaskRows);
    std::atomic<bool> failed = false;
    const auto task = [&](size_t index) {
      const size_t m = index % row_blocks * kTaskRows;
      if (!RunTask(x.Rows(m, std::min(kTaskRows, x.rows - m)),
                   y.Rows(m, std::min(kTaskRows, x.rows - m)),
                   index / row_blocks, m, call)) {
        failed = true;
      }
    };
    RunTasks(call.pool, x.rows * n_ * k_, row_blocks * multipliers_.size(),
             task);
    if (failed) {
      return absl::InternalError("oneDNN could not run a matrix product");
    }
    return absl::OkStatus();
  }

  size_t packed_bytes() const {
    size_t bytes = bias_.size() * sizeof(float);
    for (const auto& multiplier : multipliers_) {
      bytes += multiplier->packed_bytes();
    }
    return bytes;
  }
  std::string_view kernel_name() const { return kernel_name_; }
  std::string_view isa() const { return isa_; }

 private:
  bool RunTask(MatrixView<const float> x, MatrixView<float> y, size_t group,
               size_t first_row, const LinearCall& call) const {
    const size_t n = group * kTaskCols;
    const MatrixView<float> block = y.Columns(n, std::min(kTaskCols, n_ - n));
    if (!multipliers_[group]->Run(x, block)) return false;
    if (!bias_.empty()) AddBias(bias_.data() + n, block);
    if (call.activation != Activation::kNone) Activate(call.activation, block);
    if (call.residual.data != nullptr) {
      AddResidual(call.residual.Rows(first_row, x.rows).Columns(n, block.cols),
                  block);
    }
    return true;
  }

  size_t n_ = 0;
  size_t k_ = 0;
  std::vector<float> bias_;
  std::vector<std::unique_ptr<Multiplier>> multipliers_;
  std::string_view kernel_name_;
  std::string_view isa_;
};

absl::StatusOr<FloatLinear> FloatLinear::Create(MatrixView<const float> w,
                                                absl::Span<const float> bias,
                                                FloatBackend backend) {
  auto impl = std::make_unique<Impl>();
  RETURN_IF_ERROR(impl->CheckShapes(w, bias));
  if (backend == FloatBackend::kPanels || !impl->PackOneDnn(w)) {
    impl->PackPanels(w, HostFloatCompanions().panel_fp32, "panels_fp32");
  }
  return FloatLinear(std::move(impl));
}

absl::StatusOr<FloatLinear> FloatLinear::Create16(
    FloatType type, MatrixView<const uint16_t> w,
    absl::Span<const float> bias) {
  auto impl = std::make_unique<Impl>();
  RETURN_IF_ERROR(impl->CheckShapes(w, bias));
  const FloatCompanions& companions = HostFloatCompanions();
  if (type == FloatType::kFp16) {
    impl->PackPanels(w, companions.panel_fp16, "panels_fp16");
  } else if (type == FloatType::kBf16) {
    impl->PackPanels(w, companions.panel_bf16, "panels_bf16");
  } else {
    return absl::InvalidArgumentError("type must be fp16 or bf16");
  }
  return FloatLinear(std::move(impl));
}

FloatLinear::FloatLinear(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FloatLinear::FloatLinear(FloatLinear&&) noexcept = default;
FloatLinear& FloatLinear::operator=(FloatLinear&&) noexcept = default;
FloatLinear::~FloatLinear() = default;

absl::Status FloatLinear::Run(MatrixView<const float> x, MatrixView<float> y,
                              const LinearCall& call) const {
  return impl_->Run(x, y, call);
}

size_t FloatLinear::packed_bytes() const { return impl_->packed_bytes(); }
std::string_view FloatLinear::kernel_name() const {
  return impl_->kernel_name();
}
std::string_view FloatLinear::isa() const { return impl_->isa(); }

}  // namespace octet::kernels
