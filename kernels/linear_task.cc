#include "kernels/linear_task.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/element_type.h"
#include "kernels/int8_layer.h"
#include "kernels/linear_partition.h"
#include "kernels/microkernel.h"
#include "kernels/packed_weights.h"
#include "kernels/phase_clock.h"
#include "kernels/phase_sampler.h"
#include "kernels/quantize_rows.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {
namespace {

constexpr size_t kTileSize = kMaxTileRows * kMaxTileColumns;
constexpr size_t kSplitGroups = 8192;  // 65,536 terms where kr is 8, or fewer
constexpr size_t kLine = 64;
// What memory delivers in the some hundred nanoseconds that it takes.
constexpr size_t kAhead = 4096;

// One per thread; grows to the largest task it has seen and stays.
struct Scratch {
  alignas(64) float outliers[kTileSize];
  alignas(64) int64_t wide[kTileSize];
  AlignedBuffer acc;  // int32 [row tiles][kTileSize]
  AlignedBuffer codes;
  size_t stride = 0;
  std::vector<float> scales;       // [rows]
  std::vector<float> fixed_x;      // [rows, outlier columns]
  std::vector<size_t> live_begin;  // [rows + 1], into the next two
  std::vector<uint32_t> live_columns;
  std::vector<float> live_x;

  uint8_t* row(size_t i) const { return codes.As<uint8_t>() + i * stride; }
};

class TaskRun {
 public:
  TaskRun(const Int8Layer& layer, const LinearTask& task, Scratch& scratch)
      : layer_(layer),
        kernel_(layer.kernel),
        task_(task),
        scratch_(scratch),
        tiles_((task.x.rows + kernel_.mr - 1) / kernel_.mr),
        sampler_(task.timed, tiles_ * task.panels.size()) {}

  PhaseTimes Run() {
    sampler_.BeginQuantize();
    Quantize();
    sampler_.EndQuantizeBeginLoop();
    scratch_.acc.Reserve(tiles_ * kTileSize * sizeof(int32_t));
    for (size_t p = task_.panels.begin; p < task_.panels.end; ++p) RunPanel(p);
    return task_.timed ? sampler_.EndLoop() : PhaseTimes{};
  }

 private:
  // Rows [begin, begin + rows) of the task against the current panel.
  struct Tile {
    size_t index;
    size_t begin;
    size_t rows;
    int32_t* acc;
    bool sampled;
  };

  // Groups [begin, end) of K, and the weights that come after them.
  struct Slice {
    Range groups;
    const int8_t* next;
  };

  void Quantize();
  void ListLiveOutliers(const float* x);
  void RunPanel(size_t index);
  Tile TileOf(size_t panel_index, size_t index) const;
  bool IsPlain(const Tile& tile) const;
  void Multiply(const Tile& tile, const Panel& panel, const Slice& slice,
                bool plain);
  Prefetch PrefetchFor(const Tile& tile, const Slice& slice, const int8_t* b,
                       size_t group_bytes) const;
  void MultiplyWide(const Tile& tile, const Panel& panel);
  bool AddOutliers(const Tile& tile, const Panel& panel);
  void Finish(const Tile& tile, const Panel& panel);

  const Int8Layer& layer_;
  const Kernel& kernel_;
  const LinearTask& task_;
  Scratch& scratch_;
  size_t tiles_;
  PhaseSampler sampler_;
};

void TaskRun::Quantize() {
  const size_t rows = task_.x.rows;
  const size_t fixed = layer_.outlier_columns.size();
  scratch_.stride = CodeStride(layer_.padded_k());
  scratch_.codes.Reserve(rows * scratch_.stride);
  scratch_.scales.resize(rows);
  scratch_.fixed_x.resize(rows * fixed);
  scratch_.live_begin.assign(rows + 1, 0);
  scratch_.live_columns.clear();
  scratch_.live_x.clear();
  for (size_t i = 0; i < rows; ++i) {
    const float* x = task_.x.row(i);
    const QuantizedRow row = QuantizeRow(
        *kernel_.ops, layer_.coding, x, ElementType::kFp32, layer_.weights.k(),
        layer_.padded_k(), {.codes = scratch_.row(i)});
    scratch_.scales[i] = row.scale;
    for (size_t j = 0; j < fixed; ++j) {
      scratch_.fixed_x[i * fixed + j] = x[layer_.outlier_columns[j]];
    }
    if (row.has_live) ListLiveOutliers(x);
    scratch_.live_begin[i + 1] = scratch_.live_x.size();
  }
}

void TaskRun::ListLiveOutliers(const float* x) {
  const float threshold = std::bit_cast<float>(layer_.coding.filter.live_bits);
  for (size_t k = 0; k < layer_.weights.k(); ++k) {
    if (!(std::fabs(x[k]) >= threshold)) continue;
    if (!layer_.keep.empty() && layer_.keep[k] == 0) continue;
    scratch_.live_columns.push_back(static_cast<uint32_t>(k));
    scratch_.live_x.push_back(x[k]);
  }
}

TaskRun::Tile TaskRun::TileOf(size_t panel_index, size_t index) const {
  const Range rows = PartOf(task_.x.rows, tiles_, index);
  const size_t seen = (panel_index - task_.panels.begin) * tiles_;
  return {.index = index,
          .begin = rows.begin,
          .rows = rows.size(),
          .acc = scratch_.acc.As<int32_t>() + index * kTileSize,
          .sampled = sampler_.Wants(seen + index)};
}

void TaskRun::RunPanel(size_t index) {
  const Panel panel = layer_.weights.panel(index);
  const size_t groups = layer_.weights.groups();
  const size_t step = layer_.splits_k() ? groups : task_.slice_groups;
  for (size_t g = 0; g < groups; g += step) {
    const size_t end = std::min(g + step, groups);
    const bool last = end == groups;
    // What follows a panel is the next one, or past the end of all of them
    // memory that is only prefetched.
    const Slice slice = {{g, end},
                         panel.codes + end * panel.width * kernel_.kr};
    for (size_t t = 0; t < tiles_; ++t) {
      const Tile tile = TileOf(index, t);
      const bool plain = last && IsPlain(tile);
      if (tile.sampled) sampler_.TileStarts();
      layer_.splits_k() ? MultiplyWide(tile, panel)
                        : Multiply(tile, panel, slice, plain);
      if (tile.sampled) sampler_.DotDone();
      if (last && !plain) Finish(tile, panel);
    }
  }
}

// No activation, no outliers: the kernel can finish the tile by itself.
// Sampled tiles take the long way, which can be timed by phase.
bool TaskRun::IsPlain(const Tile& tile) const {
  const size_t* live = scratch_.live_begin.data() + tile.begin;
  return kernel_.scales && !tile.sampled && !layer_.splits_k() &&
         task_.activation == Activation::kNone &&
         layer_.outlier_columns.empty() && live[0] == live[tile.rows];
}

void TaskRun::Multiply(const Tile& tile, const Panel& panel, const Slice& slice,
                       bool plain) {
  const bool first = slice.groups.begin == 0;
  const size_t group_bytes = panel.width * kernel_.kr;
  const int8_t* b = panel.codes + slice.groups.begin * group_bytes;
  ScaledOutput scaled;
  if (plain) {
    scaled = {.row_scales = scratch_.scales.data() + tile.begin,
              .weight_scales = layer_.scales.data() + panel.begin,
              .bias = layer_.bias.data() + panel.begin,
              .y = task_.y.row(tile.begin) + panel.begin,
              .y_stride = task_.y.stride,
              .columns = panel.columns};
    if (task_.residual.data != nullptr) {
      scaled.residual = task_.residual.row(tile.begin) + panel.begin;
      scaled.residual_stride = task_.residual.stride;
    }
  }
  kernel_.dot({.a = scratch_.row(tile.begin) + slice.groups.begin * kernel_.kr,
               .a_stride = scratch_.stride,
               .b = b,
               .groups = slice.groups.size(),
               .seed = first ? layer_.seeds.data() + panel.begin : tile.acc,
               .seed_stride = first ? 0 : kMaxTileColumns,
               .acc = tile.acc,
               .scaled = plain ? &scaled : nullptr,
               .rows = tile.rows,
               .width = panel.width,
               .prefetch = PrefetchFor(tile, slice, b, group_bytes)});
}

// One tile: the weights a fixed distance ahead. Several tiles: each its share
// of the next slice, which the first of them will read from L1.
Prefetch TaskRun::PrefetchFor(const Tile& tile, const Slice& slice,
                              const int8_t* b, size_t group_bytes) const {
  if (tiles_ == 1)
    return {.from = b + kAhead, .step = group_bytes, .spread = kLine};
  const size_t quarter = slice.groups.size() * group_bytes / 4;
  return {.from = slice.next + quarter * tile.index / tiles_,
          .step = group_bytes / 4 / tiles_,
          .spread = quarter};
}

// Parts of K that are exact in int32, added up in 64 bits; the sum is rounded
// to FP32 once and takes the accumulator's place.
void TaskRun::MultiplyWide(const Tile& tile, const Panel& panel) {
  const size_t groups = layer_.weights.groups();
  const auto for_each_sum = [&](auto body) {
    for (size_t r = 0; r < tile.rows; ++r) {
      for (size_t c = 0; c < panel.width; ++c) {
        body(r * kMaxTileColumns + c, panel.begin + c);
      }
    }
  };
  for_each_sum([&](size_t i, size_t column) {
    scratch_.wide[i] = -int64_t{layer_.coding.zero_byte()} *
                       layer_.weights.column_sums()[column];
  });
  for (size_t g = 0; g < groups; g += kSplitGroups) {
    kernel_.dot({.a = scratch_.row(tile.begin) + g * kernel_.kr,
                 .a_stride = scratch_.stride,
                 .b = panel.codes + g * panel.width * kernel_.kr,
                 .groups = std::min(kSplitGroups, groups - g),
                 .seed = layer_.seeds.data() + panel.begin,
                 .acc = tile.acc,
                 .rows = tile.rows,
                 .width = panel.width});
    for_each_sum([&](size_t i, size_t) { scratch_.wide[i] += tile.acc[i]; });
  }
  for_each_sum([&](size_t i, size_t) {
    tile.acc[i] = std::bit_cast<int32_t>(static_cast<float>(scratch_.wide[i]));
  });
}

// False where no row of the tile has any, and the buffer holds nothing.
bool TaskRun::AddOutliers(const Tile& tile, const Panel& panel) {
  const size_t fixed = layer_.outlier_columns.size();
  const size_t* begin = scratch_.live_begin.data() + tile.begin;
  if (fixed == 0 && begin[0] == begin[tile.rows]) return false;
  kernel_.ops->fixed_outliers(
      {.x = scratch_.fixed_x.data() + tile.begin * fixed,
       .count = fixed,
       .weights = layer_.outlier_weights.data() + panel.begin,
       .weights_stride = layer_.weights.padded_n(),
       .out = scratch_.outliers,
       .rows = tile.rows,
       .width = panel.width});
  for (size_t r = 0; r < tile.rows; ++r) {
    if (begin[r] == begin[r + 1]) continue;
    kernel_.ops->live_outliers(
        {.x = scratch_.live_x.data() + begin[r],
         .columns = scratch_.live_columns.data() + begin[r],
         .count = begin[r + 1] - begin[r],
         .panel = panel.codes,
         .kr = kernel_.kr,
         .scales = layer_.scales.data() + panel.begin,
         .out = scratch_.outliers + r * kMaxTileColumns,
         .width = panel.width});
  }
  return true;
}

void TaskRun::Finish(const Tile& tile, const Panel& panel) {
  if (tile.sampled) sampler_.TileStarts();
  const bool outliers = AddOutliers(tile, panel);
  if (tile.sampled && outliers) sampler_.OutliersDone();
  FinishTile finish;
  finish.acc = tile.acc;
  finish.acc_is_float = layer_.splits_k();
  finish.row_scales = scratch_.scales.data() + tile.begin;
  finish.weight_scales = layer_.scales.data() + panel.begin;
  finish.bias = layer_.bias.data() + panel.begin;
  finish.outliers = outliers ? scratch_.outliers : nullptr;
  if (task_.residual.data != nullptr) {
    finish.residual = task_.residual.row(tile.begin) + panel.begin;
    finish.residual_stride = task_.residual.stride;
  }
  finish.y = task_.y.row(tile.begin) + panel.begin;
  finish.y_stride = task_.y.stride;
  finish.rows = tile.rows;
  finish.columns = panel.columns;
  finish.activation = task_.activation;
  kernel_.ops->finish(finish);
  if (tile.sampled) sampler_.TileDone();
}

}  // namespace

PhaseTimes RunLinearTask(const Int8Layer& layer, const LinearTask& task) {
  thread_local Scratch scratch;
  return TaskRun(layer, task, scratch).Run();
}

}  // namespace octet::kernels
