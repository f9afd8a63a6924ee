// The ways to multiply a tile: by the kernel in slices of K, with a scale per
// group of K, with a K that int32 does not hold, and by oneDNN.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu_features.h"
#include "kernels/grouped_dot.h"
#include "kernels/int8_layer.h"
#include "kernels/linear_task_run.h"
#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

constexpr size_t kSplitGroups = 8192;  // 65,536 terms where kr is 8, or fewer
constexpr size_t kLine = 64;

}  // namespace

void LinearTaskRun::CopyDenseCodes() {
  const size_t rows = task_.x.rows;
  const size_t k = layer_.weights.k();
  scratch_.dense_codes.Reserve(rows * k);
  auto* codes = scratch_.dense_codes.As<uint8_t>();
  for (size_t i = 0; i < rows; ++i) {
    std::copy_n(scratch_.rows.row(i), k, codes + i * k);
  }
  has_dense_codes_ = true;
}

// Should it ever fail, our own kernel computes the same integers.
void LinearTaskRun::MultiplyByOneDnn(size_t range) {
  sampler_.BeginDotOfTiles();
  if (!has_dense_codes_) CopyDenseCodes();
  has_product_ =
      layer_.onednn[range]->Run(scratch_.dense_codes.As<uint8_t>(),
                                task_.x.rows, scratch_.product.As<int32_t>());
  sampler_.EndDotOfTiles();
}

// A tile takes some hundred nanoseconds: what can be said once is. Field by
// field, since a struct that is copied right after it was written has to wait.
void LinearTaskRun::BeginSlice(const Panel& panel, const Slice& slice) {
  const size_t group_bytes = panel.width * kernel_.kr;
  codes_ = scratch_.rows.at(0, slice.groups.begin * kernel_.kr);
  dot_.a_stride = scratch_.rows.stride();
  dot_.b = panel.codes + slice.groups.begin * group_bytes;
  dot_.groups = slice.groups.size();
  dot_.seed = layer_.seeds.data() + panel.begin;
  dot_.seed_stride = slice.groups.begin == 0 ? 0 : kMaxTileColumns;
  dot_.width = panel.width;
  dot_.panel = panel.codes;
  is_last_slice_ = slice.groups.end == layer_.weights.groups();
  scaled_.weight_scales = layer_.scales.data() + panel.begin;
  scaled_.bias = layer_.bias.data() + panel.begin;
  scaled_.columns = panel.columns;
  if (task_.residual.data != nullptr) residual_ = residual(0, panel);
  AskForWeights(slice, group_bytes);
}

// One pass: the weights a fixed distance ahead; of 0, requests are hits.
// Several: each tile its share of the next slice, which the first of them will
// find in the cache.
void LinearTaskRun::AskForWeights(const Slice& slice, size_t group_bytes) {
  if (passes_once_) {
    soon_ = dot_.b + HostFeatures().feed.ahead;
    soon_step_ = 0;
    dot_.prefetch.step = group_bytes;
    dot_.prefetch.spread = kLine;
  } else {
    soon_ = slice.next;
    soon_step_ = dot_.groups * slice.share;
    dot_.prefetch.step = slice.share;
    dot_.prefetch.spread = dot_.groups * group_bytes / 4;
  }
}

void LinearTaskRun::MultiplySlice(const Tile& tile, const Product& into) {
  dot_.a = codes_ + tile.begin * dot_.a_stride;
  if (dot_.seed_stride != 0) dot_.seed = tile.acc;  // of the slice before
  dot_.acc = into.acc;
  dot_.rows = tile.rows;
  dot_.prefetch.from = soon_ + tile.index * soon_step_;
  if (kernel_.split_row != nullptr) AddSplitRows(tile);
  dot_.scaled = nullptr;
  if (into.y != nullptr) {
    scaled_.row_scales = scratch_.rows.scales(tile.begin);
    scaled_.y = into.y;
    scaled_.y_stride = into.y_stride;
    if (residual_ != nullptr) {
      scaled_.residual = residual_ + tile.begin * scaled_.residual_stride;
    }
    dot_.scaled = &scaled_;
  }
  kernel_.dot(dot_);
}

// Rows' seeds go into their first slice, the excess of all of K into the last.
void LinearTaskRun::AddSplitRows(const Tile& tile) {
  const CodedBlock& rows = scratch_.rows;
  const bool first = dot_.seed_stride == 0;
  dot_.row_seeds = first ? rows.seeds(tile.begin) : nullptr;
  dot_.excess = rows.excess(tile.index);
  dot_.excess_steps = is_last_slice_ ? rows.excess_steps(tile.index) : 0;
}

void LinearTaskRun::TakeProduct(const Tile& tile, const Panel& panel) {
  const size_t first = panel.begin / kOneDnnColumns * kOneDnnColumns;
  const size_t columns = std::min(kOneDnnColumns, layer_.weights.n() - first);
  const int32_t* seeds = layer_.seeds.data() + panel.begin;
  for (size_t r = 0; r < tile.rows; ++r) {
    const int32_t* product = scratch_.product.As<int32_t>() +
                             (tile.begin + r) * columns + panel.begin - first;
    int32_t* acc = tile.acc + r * kMaxTileColumns;
    for (size_t c = 0; c < panel.columns; ++c) {
      // Wraps, like the kernels' sums.
      acc[c] = static_cast<int32_t>(static_cast<uint32_t>(product[c]) +
                                    static_cast<uint32_t>(seeds[c]));
    }
  }
}

void LinearTaskRun::MultiplyGroups(const Tile& tile, const Panel& panel,
                                   const Slice& slice) {
  const size_t step = layer_.group_size / kernel_.kr;
  const size_t group_bytes = panel.width * kernel_.kr;
  const size_t at =
      layer_.group_at(panel) + slice.groups.begin / step * panel.width;
  const int8_t* b = panel.codes + slice.groups.begin * group_bytes;
  Prefetch prefetch = dot_.prefetch;
  prefetch.from = soon_ + tile.index * soon_step_;
  const auto dot = group_by_group_ ? DotGroupByGroup : DotGrouped;
  dot(kernel_,
      {.a = scratch_.rows.at(tile.begin, slice.groups.begin * kernel_.kr),
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
       .prefetch = prefetch});
}

// Parts of K that are exact in int32, added up in 64 bits; the sum is rounded
// to FP32 once and takes the accumulator's place.
void LinearTaskRun::MultiplyWide(const Tile& tile, const Panel& panel) {
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
    kernel_.dot({.a = scratch_.rows.at(tile.begin, g * kernel_.kr),
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

}  // namespace octet::kernels
