#include "kernels/int8_linear_impl.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/int8_linear.h"
#include "kernels/matrix_view.h"
#include "kernels/microkernel.h"
#include "kernels/packed_weights.h"
#include "kernels/phase_clock.h"
#include "kernels/phase_sampler.h"
#include "kernels/quantize_rows.h"
#include "kernels/registry.h"
#include "kernels/thread_pool.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {
namespace {

// Codes of one row block stay in L2 beside the panel that is being read.
constexpr size_t kBlockBytes = size_t{96} << 10;
constexpr size_t kMaxBlockRows = 48;
constexpr size_t kMinBlockRows = 12;  // a panel in L1 serves two tiles at least
// Waking a thread takes microseconds: a task should be worth as many.
constexpr size_t kMinTaskProducts = size_t{1} << 20;
// Panels per task below which quantizing the rows again is no longer cheap.
constexpr size_t kMinTaskColumns = 256;
constexpr size_t kSplitGroups = 16384;  // 65,536 terms, below both limits
constexpr size_t kTileSize = kMaxTileRows * kMaxTileColumns;

size_t CeilDivide(size_t a, size_t b) { return (a + b - 1) / b; }

// Rows a multiple of 4096 bytes apart would share L1 sets.
size_t CodeStride(size_t padded_k) {
  const size_t stride = CeilDivide(padded_k, 64) * 64;
  return stride % 4096 == 0 ? stride + 64 : stride;
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

}  // namespace

struct Int8Linear::Impl::Partition {
  size_t block_rows = 1;
  size_t row_blocks = 1;
  size_t task_panels = 1;
  size_t panel_blocks = 1;
};

struct Int8Linear::Impl::Task {
  MatrixView<const float> x;  // this task's rows
  MatrixView<float> y;
  MatrixView<const float> residual;
  Activation activation = Activation::kNone;
  size_t panel_begin = 0;
  size_t panel_end = 0;
  bool timed = false;
};

// One per thread; grows to the largest task it has seen and stays.
struct Int8Linear::Impl::Scratch {
  alignas(64) int32_t acc[kTileSize];
  alignas(64) float outliers[kTileSize];
  alignas(64) int64_t wide[kTileSize];
  AlignedBuffer codes;
  size_t stride = 0;
  std::vector<float> scales;       // [block rows]
  std::vector<float> fixed_x;      // [block rows, outlier columns]
  std::vector<size_t> live_begin;  // [block rows + 1], into the next two
  std::vector<uint32_t> live_columns;
  std::vector<float> live_x;

  uint8_t* row(size_t i) const { return codes.As<uint8_t>() + i * stride; }
};

Int8Linear::Impl::Impl(const Kernel& kernel, const Int8LinearSpec& spec)
    : kernel_(kernel),
      weights_(kernel, spec.codes),
      scales_(weights_.padded_n(), 1.0F),
      bias_(weights_.padded_n(), 0.0F),
      seeds_(weights_.padded_n(), 0) {
  std::copy(spec.scales.begin(), spec.scales.end(), scales_.begin());
  // + 0 turns -0 into +0: then it makes no difference whether a zero outlier
  // sum was added before.
  std::transform(spec.bias.begin(), spec.bias.end(), bias_.begin(),
                 [](float b) { return b + 0.0F; });
  coding_.coding = spec.coding;
  coding_.input_scale = spec.input_scale;
  coding_.input_zero_point = spec.input_zero_point;
  coding_.code_offset = kernel.code_offset;
  KeepOutliers(spec);
  if (splits_k()) return;
  for (size_t i = 0; i < seeds_.size(); ++i) {
    const int64_t seed =
        -int64_t{coding_.zero_byte()} * weights_.column_sums()[i];
    seeds_[i] = static_cast<int32_t>(static_cast<uint32_t>(seed));
  }
  weights_.DropColumnSums();
}

void Int8Linear::Impl::KeepOutliers(const Int8LinearSpec& spec) {
  coding_.filter.live_bits = LiveBits(spec.outlier_threshold);
  if (spec.outlier_columns.empty()) return;
  outlier_columns_.assign(spec.outlier_columns.begin(),
                          spec.outlier_columns.end());
  keep_.assign(weights_.k(), ~uint32_t{0});
  for (const int32_t column : outlier_columns_) keep_[column] = 0;
  coding_.filter.keep = keep_.data();
  outlier_weights_.assign(outlier_columns_.size() * weights_.padded_n(), 0);
  for (size_t i = 0; i < outlier_columns_.size(); ++i) {
    const uint16_t* row = spec.outlier_weights.row(i);
    std::copy(row, row + weights_.n(),
              outlier_weights_.begin() + i * weights_.padded_n());
  }
}

size_t Int8Linear::Impl::bytes() const {
  return weights_.bytes() +
         (scales_.size() + bias_.size() + seeds_.size() + keep_.size() +
          outlier_columns_.size()) *
             sizeof(uint32_t) +
         outlier_weights_.size() * sizeof(uint16_t);
}

Int8Linear::Impl::Partition Int8Linear::Impl::Divide(size_t rows,
                                                     size_t threads) const {
  const size_t mr = kernel_.mr;
  const size_t panels = weights_.panels();
  const size_t products = rows * weights_.n() * weights_.k();
  const size_t useful = std::max<size_t>(products / kMinTaskProducts, 1);
  const size_t wanted = threads == 1 ? 1 : std::min(2 * threads, useful);

  Partition partition;
  const size_t most = std::clamp(kBlockBytes / CodeStride(PaddedK()), mr,
                                 std::max(kMaxBlockRows, mr));
  const size_t fair =
      std::max(CeilDivide(rows, wanted), std::max(kMinBlockRows, mr));
  partition.block_rows = std::max(std::min(most, fair) / mr * mr, mr);
  partition.row_blocks = CeilDivide(rows, partition.block_rows);
  const size_t fewest = CeilDivide(kMinTaskColumns, kernel_.nr);
  const size_t blocks = std::clamp<size_t>(
      wanted / partition.row_blocks, 1, std::max<size_t>(panels / fewest, 1));
  partition.task_panels = CeilDivide(panels, blocks);
  partition.panel_blocks = CeilDivide(panels, partition.task_panels);
  return partition;
}

void Int8Linear::Impl::Run(MatrixView<const float> x, MatrixView<float> y,
                           const LinearCall& call) const {
  const size_t threads = call.pool == nullptr ? 1 : call.pool->threads();
  const Partition partition = Divide(x.rows, threads);
  SharedTimes shared;
  const auto run = [&](size_t index) {
    const size_t begin = index / partition.panel_blocks * partition.block_rows;
    const size_t count = std::min(partition.block_rows, x.rows - begin);
    Task task;
    task.x = x.Rows(begin, count);
    task.y = y.Rows(begin, count);
    if (call.residual.data != nullptr) {
      task.residual = call.residual.Rows(begin, count);
    }
    task.activation = call.activation;
    task.panel_begin = index % partition.panel_blocks * partition.task_panels;
    task.panel_end =
        std::min(task.panel_begin + partition.task_panels, weights_.panels());
    task.timed = call.times != nullptr;
    shared.Add(RunTask(task));
  };
  const size_t tasks = partition.row_blocks * partition.panel_blocks;
  if (call.pool != nullptr && tasks > 1) {
    call.pool->ParallelFor(tasks, run);
  } else {
    for (size_t i = 0; i < tasks; ++i) run(i);
  }
  if (call.times != nullptr) *call.times += shared.Sum();
}

PhaseTimes Int8Linear::Impl::RunTask(const Task& task) const {
  thread_local Scratch scratch;
  const size_t row_tiles = CeilDivide(task.x.rows, kernel_.mr);
  PhaseSampler sampler(task.timed,
                       row_tiles * (task.panel_end - task.panel_begin));
  sampler.BeginQuantize();
  QuantizeBlock(task, scratch);
  sampler.EndQuantizeBeginLoop();
  for (size_t p = task.panel_begin; p < task.panel_end; ++p) {
    const Panel panel = weights_.panel(p);
    for (size_t row = 0; row < task.x.rows; row += kernel_.mr) {
      RunTile(task, row, panel, scratch,
              sampler.WantsTile() ? &sampler : nullptr);
    }
  }
  return task.timed ? sampler.EndLoop() : PhaseTimes{};
}

void Int8Linear::Impl::QuantizeBlock(const Task& task, Scratch& scratch) const {
  const size_t rows = task.x.rows;
  const size_t fixed = outlier_columns_.size();
  scratch.stride = CodeStride(PaddedK());
  scratch.codes.Reserve(rows * scratch.stride);
  scratch.scales.resize(rows);
  scratch.fixed_x.resize(rows * fixed);
  scratch.live_begin.assign(rows + 1, 0);
  scratch.live_columns.clear();
  scratch.live_x.clear();
  for (size_t i = 0; i < rows; ++i) {
    const float* x = task.x.row(i);
    const QuantizedRow row = QuantizeRow(*kernel_.ops, coding_, x, weights_.k(),
                                         PaddedK(), scratch.row(i));
    scratch.scales[i] = row.scale;
    for (size_t j = 0; j < fixed; ++j) {
      scratch.fixed_x[i * fixed + j] = x[outlier_columns_[j]];
    }
    if (row.has_live) ListLiveOutliers(x, scratch);
    scratch.live_begin[i + 1] = scratch.live_x.size();
  }
}

void Int8Linear::Impl::ListLiveOutliers(const float* x,
                                        Scratch& scratch) const {
  const float threshold = std::bit_cast<float>(coding_.filter.live_bits);
  for (size_t k = 0; k < weights_.k(); ++k) {
    if (!(std::fabs(x[k]) >= threshold)) continue;
    if (!keep_.empty() && keep_[k] == 0) continue;
    scratch.live_columns.push_back(static_cast<uint32_t>(k));
    scratch.live_x.push_back(x[k]);
  }
}

void Int8Linear::Impl::RunTile(const Task& task, size_t row, const Panel& panel,
                               Scratch& scratch, PhaseSampler* sampler) const {
  const size_t rows = std::min(kernel_.mr, task.x.rows - row);
  if (sampler != nullptr) sampler->TileStarts();
  splits_k() ? MultiplySplit(row, rows, panel, scratch)
             : Multiply(row, rows, panel, scratch);
  if (sampler != nullptr) sampler->DotDone();
  const bool outliers = AddOutliers(row, rows, panel, scratch);
  if (sampler != nullptr && outliers) sampler->OutliersDone();
  FinishTile finish;
  finish.acc = scratch.acc;
  finish.acc_is_float = splits_k();
  finish.row_scales = scratch.scales.data() + row;
  finish.weight_scales = scales_.data() + panel.begin;
  finish.bias = bias_.data() + panel.begin;
  finish.outliers = outliers ? scratch.outliers : nullptr;
  if (task.residual.data != nullptr) {
    finish.residual = task.residual.row(row) + panel.begin;
    finish.residual_stride = task.residual.stride;
  }
  finish.y = task.y.row(row) + panel.begin;
  finish.y_stride = task.y.stride;
  finish.rows = rows;
  finish.columns = panel.columns;
  finish.activation = task.activation;
  kernel_.ops->finish(finish);
  if (sampler != nullptr) sampler->TileDone();
}

void Int8Linear::Impl::Multiply(size_t row, size_t rows, const Panel& panel,
                                Scratch& scratch) const {
  DotTile tile;
  tile.a = scratch.row(row);
  tile.a_stride = scratch.stride;
  tile.b = panel.codes;
  tile.groups = weights_.groups();
  tile.seed = seeds_.data() + panel.begin;
  tile.acc = scratch.acc;
  tile.rows = rows;
  tile.width = panel.width;
  kernel_.dot(tile);
}

// Parts of K that are exact in int32, added up in 64 bits; the sum is rounded
// to FP32 once and takes the accumulator's place.
void Int8Linear::Impl::MultiplySplit(size_t row, size_t rows,
                                     const Panel& panel,
                                     Scratch& scratch) const {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < panel.width; ++c) {
      scratch.wide[r * kMaxTileColumns + c] =
          -int64_t{coding_.zero_byte()} *
          weights_.column_sums()[panel.begin + c];
    }
  }
  for (size_t g = 0; g < weights_.groups(); g += kSplitGroups) {
    DotTile tile;
    tile.a = scratch.row(row) + g * kernel_.kr;
    tile.a_stride = scratch.stride;
    tile.b = panel.codes + g * panel.width * kernel_.kr;
    tile.groups = std::min(kSplitGroups, weights_.groups() - g);
    tile.seed = seeds_.data() + panel.begin;
    tile.acc = scratch.acc;
    tile.rows = rows;
    tile.width = panel.width;
    kernel_.dot(tile);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < panel.width; ++c) {
        const size_t i = r * kMaxTileColumns + c;
        scratch.wide[i] += scratch.acc[i];
      }
    }
  }
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < panel.width; ++c) {
      const size_t i = r * kMaxTileColumns + c;
      scratch.acc[i] =
          std::bit_cast<int32_t>(static_cast<float>(scratch.wide[i]));
    }
  }
}

// False where no row of the tile has any, and the buffer holds nothing.
bool Int8Linear::Impl::AddOutliers(size_t row, size_t rows, const Panel& panel,
                                   Scratch& scratch) const {
  const size_t fixed = outlier_columns_.size();
  const auto& begin = scratch.live_begin;
  if (fixed == 0 && begin[row] == begin[row + rows]) return false;
  FixedOutliers tile;
  tile.x = scratch.fixed_x.data() + row * fixed;
  tile.count = fixed;
  tile.weights = outlier_weights_.data() + panel.begin;
  tile.weights_stride = weights_.padded_n();
  tile.out = scratch.outliers;
  tile.rows = rows;
  tile.width = panel.width;
  kernel_.ops->fixed_outliers(tile);
  for (size_t r = 0; r < rows; ++r) {
    const size_t first = begin[row + r];
    if (first == begin[row + r + 1]) continue;
    LiveOutliers live;
    live.x = scratch.live_x.data() + first;
    live.columns = scratch.live_columns.data() + first;
    live.count = begin[row + r + 1] - first;
    live.panel = panel.codes;
    live.kr = kernel_.kr;
    live.scales = scales_.data() + panel.begin;
    live.out = scratch.outliers + r * kMaxTileColumns;
    live.width = panel.width;
    kernel_.ops->live_outliers(live);
  }
  return true;
}

}  // namespace octet::kernels
