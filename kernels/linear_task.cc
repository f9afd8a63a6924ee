#include "kernels/linear_task.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "kernels/int8_layer.h"
#include "kernels/linear_task_run.h"
#include "kernels/rounding.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

PhaseTimes LinearTaskRun::Run() {
  sampler_.BeginQuantize();
  Quantize();
  sampler_.EndQuantizeBeginLoop();
  scratch_.acc.Reserve(tiles_ * kLinearTileSize * sizeof(int32_t));
  const size_t at_once = kOneDnnColumns / kernel_.nr;  // panels
  for (size_t p = task_.panels.begin; p < task_.panels.end; ++p) {
    if (task_.by_onednn && p % at_once == 0) MultiplyByOneDnn(p / at_once);
    RunPanel(p);
  }
  return sampler_.EndLoop();
}

void LinearTaskRun::Quantize() {
  scratch_.rows.Fill(layer_, task_.x);
  has_outliers_ = !layer_.outlier_columns.empty() ||
                  scratch_.rows.has_live(0, task_.x.rows);
  if (kernel_.split_row != nullptr) {
    scratch_.rows.ArrangeExcess(tile_rows_, tiles_);
  }
  if (task_.y.type != ElementType::kCode || task_.panels.begin != 0) return;
  for (size_t i = 0; i < task_.y.rows; ++i) {
    const float scale = *scratch_.rows.scales(i);
    task_.y.row_scales[i] = std::isnan(scale) ? scale : task_.y.scale;
  }
}

// Where weights pass through L2, nothing else stays there: a panel would begin
// with a wait for its seeds, and end with one for its scales and bias.
void LinearTaskRun::AskForSidesOf(const Panel& panel) const {
  constexpr size_t kLineFloats = 16;
  for (size_t c = panel.begin; c < panel.begin + panel.width;
       c += kLineFloats) {
    __builtin_prefetch(layer_.seeds.data() + c + panel.width);  // the next's
    __builtin_prefetch(layer_.scales.data() + c);
    __builtin_prefetch(layer_.bias.data() + c);
  }
}

// What Finish will write arrives while the tile multiplies.
void LinearTaskRun::AskForOutput(const Output& output, size_t rows,
                                 size_t columns) const {
  constexpr size_t kLine = 64;
  const size_t element = ElementSize(task_.y.type);
  const auto* row = static_cast<const char*>(output.y);
  for (size_t r = 0; r < rows; ++r, row += output.stride * element) {
    const size_t bytes = columns * element;
    for (size_t i = 0; i < bytes; i += kLine) __builtin_prefetch(row + i, 1);
    __builtin_prefetch(row + bytes - 1, 1);
  }
}

void LinearTaskRun::Multiply(const Tile& tile, const Panel& panel,
                             const Slice& slice, const Product& into) {
  if (has_product_) {
    TakeProduct(tile, panel);
  } else if (layer_.group_size != 0) {
    MultiplyGroups(tile, panel, slice);
  } else if (layer_.splits_k()) {
    MultiplyWide(tile, panel);
  } else {
    MultiplySlice(tile, into);
  }
}

void LinearTaskRun::MultiplyAndFinish(const Tile& tile, const Panel& panel,
                                      const Slice& slice,
                                      const Output& output) {
  if (IsPlain(tile)) {
    const bool outliers = has_outliers_ && AddOutliers(tile, panel);
    scaled_.outliers = outliers ? scratch_.outliers : nullptr;
    Multiply(tile, panel, slice,
             {tile.acc, static_cast<float*>(output.y), output.stride});
  } else {
    if (scaled_.is_far) AskForOutput(output, tile.rows, panel.columns);
    Multiply(tile, panel, slice, {tile.acc});
    Finish(tile, panel, output);
  }
}

void LinearTaskRun::RunPanel(size_t index) {
  const Panel panel = layer_.weights.panel(index);
  if (streams_ && layer_.group_size == 0) AskForSidesOf(panel);
  const size_t groups = layer_.weights.groups();
  const size_t step = SliceStep();
  const size_t group_bytes = panel.width * kernel_.kr;
  const size_t share = group_bytes / 4 / tiles_;
  const size_t seen = (index - task_.panels.begin) * tiles_;
  for (size_t g = 0; g < groups; g += step) {
    const size_t end = std::min(g + step, groups);
    const bool last = end == groups;
    // What follows a panel is the next one, or past the end of all of them
    // memory that is only prefetched.
    const Slice slice = {{g, end}, panel.codes + end * group_bytes, share};
    BeginSlice(panel, slice);
    for (size_t t = 0; t < tiles_; ++t) {
      const Tile tile = TileOf(t);
      if (!last) {
        Multiply(tile, panel, slice, Product{tile.acc});
        continue;
      }
      if (sampler_.Wants(seen + t)) Sample(tile, panel, slice);
      MultiplyAndFinish(tile, panel, slice, OutputOf(tile, panel));
    }
  }
}

// Twins of the tile's last slice: phase_sampler.h.
void LinearTaskRun::Sample(const Tile& tile, const Panel& panel,
                           const Slice& slice) {
  sampler_.BeginSample();
  Tile twin = tile;
  twin.acc = scratch_.twin;
  if (slice.groups.begin != 0) {
    std::copy_n(tile.acc, kLinearTileSize, twin.acc);  // of the slices before
  }
  sampler_.EndSample(TimeTwins(twin, panel, slice),
                     static_cast<double>(layer_.weights.groups()) /
                         static_cast<double>(slice.groups.size()));
}

PhaseSampler::Twins LinearTaskRun::TimeTwins(const Tile& twin,
                                             const Panel& panel,
                                             const Slice& slice) {
  const bool outliers = AddOutliers(twin, panel);
  const Output output = {scratch_.twin_y, kMaxTileColumns};
  const Product sums = {twin.acc};
  const auto time_dot = [&] {
    return sampler_.TicksOf([&] { Multiply(twin, panel, slice, sums); });
  };
  const auto time_outliers = [&] {
    return sampler_.TicksOf([&] {
      Multiply(twin, panel, slice, sums);
      AddOutliers(twin, panel);
    });
  };
  const auto time_whole = [&] {
    return sampler_.TicksOf(
        [&] { MultiplyAndFinish(twin, panel, slice, output); });
  };
  PhaseSampler::Twins twins = {};
  const bool dot_first = sampler_.WantsDotFirst();
  if (dot_first) twins.dot = time_dot();
  if (!dot_first) twins.whole = time_whole();
  if (outliers) twins.with_outliers = time_outliers();
  if (dot_first) twins.whole = time_whole();
  if (!dot_first) twins.dot = time_dot();
  if (!outliers) twins.with_outliers = twins.dot;
  return twins;
}

// Slices are made of whole groups, which share a scale.
size_t LinearTaskRun::SliceStep() const {
  if (has_product_ || layer_.splits_k() || group_by_group_) {
    return layer_.weights.groups();
  }
  if (layer_.group_size == 0) return task_.slice_groups;
  const size_t group = layer_.group_size / kernel_.kr;
  return std::max(task_.slice_groups / group, size_t{1}) * group;
}

// False where no row of the tile has any, and the buffer holds nothing.
bool LinearTaskRun::AddOutliers(const Tile& tile, const Panel& panel) {
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
         .weight_offset = kernel_.weight_offset(),
         .scales = scales,
         .group_size = grouped ? layer_.group_size : layer_.weights.k(),
         .scales_stride = panel.width,
         .out = scratch_.outliers + r * kMaxTileColumns,
         .width = panel.width});
  }
  return true;
}

void LinearTaskRun::Finish(const Tile& tile, const Panel& panel,
                           const Output& output) {
  const bool outliers = AddOutliers(tile, panel);
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
  finish.y = output.y;
  finish.y_stride = output.stride;
  finish.y_type = task_.y.type;
  finish.y_codes.inverse = InverseScale(task_.y.scale);
  finish.y_codes.zero_point = task_.y.zero_point;
  finish.rows = tile.rows;
  finish.columns = panel.columns;
  finish.activation = task_.activation;
  kernel_.ops->finish(finish);
}

PhaseTimes RunLinearTask(const Int8Layer& layer, const LinearTask& task) {
  thread_local LinearScratch scratch;
  return LinearTaskRun(layer, task, scratch).Run();
}

}  // namespace octet::kernels
