#include "kernels/linear_task.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "kernels/aligned_buffer.h"
#include "kernels/coded_block.h"
#include "kernels/cpu_features.h"
#include "kernels/element_type.h"
#include "kernels/grouped_dot.h"
#include "kernels/int8_layer.h"
#include "kernels/linear_partition.h"
#include "kernels/microkernel.h"
#include "kernels/packed_weights.h"
#include "kernels/phase_clock.h"
#include "kernels/phase_sampler.h"
#include "kernels/rounding.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {
namespace {

constexpr size_t kTileSize = kMaxTileRows * kMaxTileColumns;
constexpr size_t kSplitGroups = 8192;  // 65,536 terms where kr is 8, or fewer
constexpr size_t kLine = 64;
constexpr size_t kLineFloats = kLine / sizeof(float);
// What memory delivers in the some hundred nanoseconds that it takes.
constexpr size_t kAhead = 4096;

// One per thread; grows to the largest task it has seen and stays.
struct Scratch {
  alignas(64) float outliers[kTileSize];
  alignas(64) int64_t wide[kTileSize];
  alignas(64) int32_t twin[kTileSize];  // of a sampled tile
  AlignedBuffer acc;                    // int32 or FP32 [row tiles][kTileSize]
  AlignedBuffer dense_codes;            // u8 [rows, K], for oneDNN
  AlignedBuffer product;                // int32 [rows, N], of oneDNN
  CodedBlock rows;
};

// What is larger than L2 is not there when its rows are stored: asked for
// before a tile multiplies, the lines arrive while it does. Up to 17 % faster
// at 512 x 384 x 1536, and no slower where y is in L2.
void PrefetchOutput(const ScaledOutput& out, size_t rows) {
  for (size_t r = 0; r < rows; ++r) {
    const float* y = out.y + r * out.y_stride;
    for (size_t c = 0; c < out.columns; c += kLineFloats) {
      __builtin_prefetch(y + c, /*rw=*/1);
    }
  }
}

class TaskRun {
 public:
  TaskRun(const Int8Layer& layer, const LinearTask& task, Scratch& scratch)
      : layer_(layer),
        kernel_(layer.kernel),
        task_(task),
        scratch_(scratch),
        tiles_(layer.group_size == 0
                   ? kernel_.TilesOf(task.x.rows)
                   : (task.x.rows + kernel_.mr - 1) / kernel_.mr),
        tile_rows_(task.x.rows, tiles_),
        // No activation, no outlier columns: the kernel can finish by itself.
        plain_(kernel_.scales && !task.by_onednn && !layer.splits_k() &&
               layer.group_size == 0 && task.y.type == ElementType::kFp32 &&
               task.activation == Activation::kNone &&
               layer.outlier_columns.empty()),
        sampler_(task.timed, tiles_ * task.panels.size(), layer.shares) {}

  PhaseTimes Run() {
    sampler_.BeginQuantize();
    Quantize();
    sampler_.EndQuantizeBeginLoop();
    scratch_.acc.Reserve(tiles_ * kTileSize * sizeof(int32_t));
    if (task_.by_onednn) MultiplyByOneDnn();
    for (size_t p = task_.panels.begin; p < task_.panels.end; ++p) RunPanel(p);
    return sampler_.EndLoop();
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
    size_t share;  // of each group's bytes that a tile asks the cache for
  };

  void Quantize();
  void MultiplyByOneDnn();
  void RunPanel(size_t index);
  size_t SliceStep() const;
  Tile TileOf(size_t panel_index, size_t index) const;
  bool IsPlain(const Tile& tile) const;
  void Multiply(const Tile& tile, const Panel& panel, const Slice& slice,
                bool plain, int32_t* acc);
  void SamplePlain(const Tile& tile, const Panel& panel, const Slice& slice);
  Prefetch PrefetchFor(const Tile& tile, const Slice& slice, const int8_t* b,
                       size_t group_bytes) const;
  void TakeProduct(const Tile& tile, const Panel& panel);
  void MultiplyGroups(const Tile& tile, const Panel& panel, const Slice& slice);
  void MultiplyWide(const Tile& tile, const Panel& panel);
  bool AddOutliers(const Tile& tile, const Panel& panel);
  const float* residual(size_t row, const Panel& panel) const {
    return task_.residual.row(row) + panel.begin - task_.first_column;
  }
  void Finish(const Tile& tile, const Panel& panel);

  const Int8Layer& layer_;
  const Kernel& kernel_;
  const LinearTask& task_;
  Scratch& scratch_;
  size_t tiles_;
  EvenParts tile_rows_;
  bool plain_;
  bool has_product_ = false;  // oneDNN's, of all rows and columns
  PhaseSampler sampler_;
};

void TaskRun::Quantize() {
  scratch_.rows.Fill(layer_, task_.x);
  if (task_.y.type != ElementType::kCode || task_.panels.begin != 0) return;
  for (size_t i = 0; i < task_.y.rows; ++i) {
    const float scale = *scratch_.rows.scales(i);
    task_.y.row_scales[i] = std::isnan(scale) ? scale : task_.y.scale;
  }
}

// Should it ever fail, our own kernel computes the same integers.
void TaskRun::MultiplyByOneDnn() {
  const size_t rows = task_.x.rows;
  const size_t k = layer_.weights.k();
  scratch_.dense_codes.Reserve(rows * k);
  scratch_.product.Reserve(rows * layer_.weights.n() * sizeof(int32_t));
  auto* codes = scratch_.dense_codes.As<uint8_t>();
  for (size_t i = 0; i < rows; ++i) {
    std::copy_n(scratch_.rows.row(i), k, codes + i * k);
  }
  has_product_ =
      layer_.onednn->Run(codes, rows, scratch_.product.As<int32_t>());
  sampler_.DotOfAllTilesDone();
}

TaskRun::Tile TaskRun::TileOf(size_t panel_index, size_t index) const {
  const Range rows = tile_rows_[index];
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
  const size_t step = SliceStep();
  const size_t group_bytes = panel.width * kernel_.kr;
  const size_t share = group_bytes / 4 / tiles_;
  for (size_t g = 0; g < groups; g += step) {
    const size_t end = std::min(g + step, groups);
    const bool last = end == groups;
    // What follows a panel is the next one, or past the end of all of them
    // memory that is only prefetched.
    const Slice slice = {{g, end}, panel.codes + end * group_bytes, share};
    for (size_t t = 0; t < tiles_; ++t) {
      const Tile tile = TileOf(index, t);
      const bool plain = last && IsPlain(tile);
      if (plain && tile.sampled) {
        SamplePlain(tile, panel, slice);
        continue;
      }
      if (tile.sampled) sampler_.TileStarts();
      if (has_product_) {
        if (last) TakeProduct(tile, panel);
      } else if (layer_.group_size != 0) {
        MultiplyGroups(tile, panel, slice);
      } else if (layer_.splits_k()) {
        MultiplyWide(tile, panel);
      } else {
        Multiply(tile, panel, slice, plain, tile.acc);
      }
      if (tile.sampled) sampler_.DotDone();
      if (last && !plain) Finish(tile, panel);
    }
  }
}

bool TaskRun::IsPlain(const Tile& tile) const {
  return plain_ && !scratch_.rows.has_live(tile.begin, tile.rows);
}

// Beside its twin without an epilogue: see phase_sampler.h.
void TaskRun::SamplePlain(const Tile& tile, const Panel& panel,
                          const Slice& slice) {
  Multiply(tile, panel, slice, false, scratch_.twin);
  sampler_.TileStarts();
  Multiply(tile, panel, slice, false, scratch_.twin);
  sampler_.TwinDone();
  Multiply(tile, panel, slice, true, tile.acc);
  sampler_.TileWithEpilogueDone();
}

void TaskRun::Multiply(const Tile& tile, const Panel& panel, const Slice& slice,
                       bool plain, int32_t* acc) {
  const bool first = slice.groups.begin == 0;
  const size_t group_bytes = panel.width * kernel_.kr;
  const int8_t* b = panel.codes + slice.groups.begin * group_bytes;
  ScaledOutput scaled;
  if (plain) {
    scaled = {.row_scales = scratch_.rows.scales(tile.begin),
              .weight_scales = layer_.scales.data() + panel.begin,
              .bias = layer_.bias.data() + panel.begin,
              .y = static_cast<float*>(
                  task_.y.at(tile.begin, panel.begin - task_.first_column)),
              .y_stride = task_.y.stride,
              .columns = panel.columns};
    if (task_.residual.data != nullptr) {
      scaled.residual = residual(tile.begin, panel);
      scaled.residual_stride = task_.residual.stride;
    }
    PrefetchOutput(scaled, tile.rows);
  }
  kernel_.dot(
      {.a = scratch_.rows.row(tile.begin) + slice.groups.begin * kernel_.kr,
       .a_stride = scratch_.rows.stride(),
       .b = b,
       .groups = slice.groups.size(),
       .seed = first ? layer_.seeds.data() + panel.begin : tile.acc,
       .seed_stride = first ? 0 : kMaxTileColumns,
       .acc = acc,
       .scaled = plain ? &scaled : nullptr,
       .rows = tile.rows,
       .width = panel.width,
       .prefetch = PrefetchFor(tile, slice, b, group_bytes)});
}

// One tile: the weights a fixed distance ahead, or no request that is not a hit
// where the hardware does better. Several tiles: each its share of the next
// slice, which the first of them will read from L1.
Prefetch TaskRun::PrefetchFor(const Tile& tile, const Slice& slice,
                              const int8_t* b, size_t group_bytes) const {
  if (tiles_ == 1) {
    const size_t ahead = HostFeatures().streams_by_itself ? 0 : kAhead;
    return {.from = b + ahead, .step = group_bytes, .spread = kLine};
  }
  const size_t groups = slice.groups.size();
  return {.from = slice.next + tile.index * groups * slice.share,
          .step = slice.share,
          .spread = groups * group_bytes / 4};
}

void TaskRun::TakeProduct(const Tile& tile, const Panel& panel) {
  const size_t n = layer_.weights.n();
  const int32_t* seeds = layer_.seeds.data() + panel.begin;
  for (size_t r = 0; r < tile.rows; ++r) {
    const int32_t* product =
        scratch_.product.As<int32_t>() + (tile.begin + r) * n + panel.begin;
    int32_t* acc = tile.acc + r * kMaxTileColumns;
    for (size_t c = 0; c < panel.columns; ++c) {
      // Wraps, like the kernels' sums.
      acc[c] = static_cast<int32_t>(static_cast<uint32_t>(product[c]) +
                                    static_cast<uint32_t>(seeds[c]));
    }
  }
}

// Slices are made of whole groups, which share a scale.
size_t TaskRun::SliceStep() const {
  if (layer_.splits_k()) return layer_.weights.groups();
  if (layer_.group_size == 0) return task_.slice_groups;
  const size_t group = layer_.group_size / kernel_.kr;
  return std::max(task_.slice_groups / group, size_t{1}) * group;
}

void TaskRun::MultiplyGroups(const Tile& tile, const Panel& panel,
                             const Slice& slice) {
  const size_t step = layer_.group_size / kernel_.kr;
  const size_t group_bytes = panel.width * kernel_.kr;
  const size_t at =
      layer_.group_at(panel) + slice.groups.begin / step * panel.width;
  const int8_t* b = panel.codes + slice.groups.begin * group_bytes;
  DotGrouped(kernel_, {.a = scratch_.rows.row(tile.begin) +
                            slice.groups.begin * kernel_.kr,
                       .a_stride = scratch_.rows.stride(),
                       .b = b,
                       .groups = slice.groups.size(),
                       .scale_groups = step,
                       .seeds = layer_.seeds.data() + at,
                       .scales = layer_.group_scales.data() + at,
                       .scale_stride = panel.width,
                       .sums = reinterpret_cast<float*>(tile.acc),
                       .first = slice.groups.begin == 0,
                       .rows = tile.rows,
                       .width = panel.width,
                       .prefetch = PrefetchFor(tile, slice, b, group_bytes)});
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
    kernel_.dot({.a = scratch_.rows.row(tile.begin) + g * kernel_.kr,
                 .a_stride = scratch_.rows.stride(),
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
  if (fixed == 0 && !scratch_.rows.has_live(tile.begin, tile.rows)) {
    return false;
  }
  kernel_.ops->fixed_outliers(
      {.x = scratch_.rows.outliers(tile.begin),
       .count = fixed,
       .weights = layer_.outlier_weights.data() + panel.begin,
       .weights_stride = layer_.weights.padded_n(),
       .out = scratch_.outliers,
       .rows = tile.rows,
       .width = panel.width});
  const bool grouped = layer_.group_size != 0;
  const float* scales =
      grouped ? layer_.group_scales.data() + layer_.group_at(panel)
              : layer_.scales.data() + panel.begin;
  for (size_t r = 0; r < tile.rows; ++r) {
    const CodedBlock::Live live = scratch_.rows.live(tile.begin + r);
    if (live.count == 0) continue;
    kernel_.ops->live_outliers(
        {.x = live.values,
         .columns = live.columns,
         .count = live.count,
         .panel = panel.codes,
         .kr = kernel_.kr,
         .scales = scales,
         .group_size = grouped ? layer_.group_size : layer_.weights.k(),
         .scales_stride = panel.width,
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
  finish.acc_is_float = layer_.splits_k() || layer_.group_size != 0;
  finish.row_scales = scratch_.rows.scales(tile.begin);
  finish.weight_scales = layer_.scales.data() + panel.begin;
  finish.bias = layer_.bias.data() + panel.begin;
  finish.outliers = outliers ? scratch_.outliers : nullptr;
  if (task_.residual.data != nullptr) {
    finish.residual = residual(tile.begin, panel);
    finish.residual_stride = task_.residual.stride;
  }
  finish.y = task_.y.at(tile.begin, panel.begin - task_.first_column);
  finish.y_stride = task_.y.stride;
  finish.y_type = task_.y.type;
  finish.y_codes.inverse = InverseScale(task_.y.scale);
  finish.y_codes.zero_point = task_.y.zero_point;
  finish.rows = tile.rows;
  finish.columns = panel.columns;
  finish.activation = task_.activation;
  kernel_.ops->finish(finish);
  if (tile.sampled) sampler_.EpilogueDone();
}

}  // namespace

PhaseTimes RunLinearTask(const Int8Layer& layer, const LinearTask& task) {
  thread_local Scratch scratch;
  return TaskRun(layer, task, scratch).Run();
}

}  // namespace octet::kernels
