// One task of a linear call while it runs: quantize its rows, then multiply and
// finish them, panel by panel and tile by tile. linear_task.cc has the order of
// things and the epilogue, linear_products.cc the ways to multiply.

#ifndef OCTET_KERNELS_LINEAR_TASK_RUN_H_
#define OCTET_KERNELS_LINEAR_TASK_RUN_H_

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/aligned_buffer.h"
#include "kernels/coded_block.h"
#include "kernels/cpu_features.h"
#include "kernels/element_type.h"
#include "kernels/int8_layer.h"
#include "kernels/linear_partition.h"
#include "kernels/linear_task.h"
#include "kernels/microkernel.h"
#include "kernels/packed_weights.h"
#include "kernels/phase_clock.h"
#include "kernels/phase_sampler.h"
#include "kernels/registry.h"

namespace octet::kernels {

inline constexpr size_t kLinearTileSize = kMaxTileRows * kMaxTileColumns;
// What L2 holds, on most CPUs at least.
inline constexpr size_t kNearBytes = size_t{1} << 20;

// One per thread; grows to the largest task it has seen and stays.
struct LinearScratch {
  alignas(64) float outliers[kLinearTileSize];
  alignas(64) int64_t wide[kLinearTileSize];
  alignas(64) int32_t twin[kLinearTileSize];  // of a sampled tile
  alignas(64) float twin_y[kLinearTileSize];
  AlignedBuffer acc;          // int32 or FP32 [row tiles][kLinearTileSize]
  AlignedBuffer dense_codes;  // u8 [rows, K], for oneDNN
  AlignedBuffer product;      // int32 [rows, up to kOneDnnColumns], of oneDNN
  CodedBlock rows;
};

class LinearTaskRun {
 public:
  LinearTaskRun(const Int8Layer& layer, const LinearTask& task,
                LinearScratch& scratch)
      : layer_(layer),
        kernel_(layer.kernel),
        task_(task),
        scratch_(scratch),
        far_(layer.weights.bytes() > kNearBytes),
        group_by_group_(layer.group_size != 0 && far_ &&
                        task.x.rows <= kernel_.mr &&
                        !kernel_.PassesOnce(task.x.rows, true)),
        tiles_(layer.group_size == 0
                   ? kernel_.TilesOf(task.x.rows)
                   : (task.x.rows + kernel_.mr - 1) / kernel_.mr),
        passes_once_(group_by_group_ ||
                     kernel_.PassesOnce(task.x.rows, layer.group_size != 0)),
        tile_rows_(task.x.rows, tiles_),
        // No activation, no outliers that it cannot add: the kernel can finish
        // by itself.
        plain_(kernel_.scales && !task.by_onednn && !layer.splits_k() &&
               layer.group_size == 0 && task.y.type == ElementType::kFp32 &&
               task.activation == Activation::kNone &&
               (kernel_.scales_outliers || layer.outlier_columns.empty())),
        streams_(passes_once_ && far_),
        sampler_(task.timed, tiles_ * task.panels.size(), layer.shares) {
    if (task.by_onednn) {
      scratch.product.Reserve(task.x.rows * kOneDnnColumns * sizeof(int32_t));
    }
    if (tiles_ <= 2 && HostFeatures().feed.into_l2) {
      dot_.prefetch.into = streams_ ? Into::kL2ThenL1 : Into::kL2;
    }
    scaled_.residual_stride = task.residual.stride;
    scaled_.is_far =
        streams_ || task.y.rows * task.y.stride * sizeof(float) > kNearBytes;
  }

  PhaseTimes Run();

 private:
  // Rows [begin, begin + rows) of the task against the current panel.
  struct Tile {
    size_t index;
    size_t begin;
    size_t rows;
    int32_t* acc;
  };

  // Groups [begin, end) of K, and the weights that come after them.
  struct Slice {
    Range groups;
    const int8_t* next;
    size_t share;  // of each group's bytes that a tile asks the cache for
  };

  // Where a product goes: sums into acc, or scaled into y.
  struct Product {
    int32_t* acc;
    float* y = nullptr;
    size_t y_stride = 0;
  };

  // Of a tile, in task.y's type.
  struct Output {
    void* y;
    size_t stride;
  };

  void Quantize();
  void MultiplyByOneDnn(size_t range);
  void CopyDenseCodes();
  void RunPanel(size_t index);
  void BeginSlice(const Panel& panel, const Slice& slice);
  void AskForWeights(const Slice& slice, size_t group_bytes);
  void AskForSidesOf(const Panel& panel) const;
  void AskForOutput(const Output& output, size_t rows, size_t columns) const;
  size_t SliceStep() const;
  Tile TileOf(size_t index) const {
    const Range rows = tile_rows_[index];
    return {.index = index,
            .begin = rows.begin,
            .rows = rows.size(),
            .acc = scratch_.acc.As<int32_t>() + index * kLinearTileSize};
  }
  bool IsPlain(const Tile& tile) const {
    return plain_ && (kernel_.scales_outliers ||
                      !scratch_.rows.has_live(tile.begin, tile.rows));
  }
  Output OutputOf(const Tile& tile, const Panel& panel) const {
    return {task_.y.at(tile.begin, panel.begin - task_.first_column),
            task_.y.stride};
  }
  // The last slice of a tile, and all that comes after it.
  void MultiplyAndFinish(const Tile& tile, const Panel& panel,
                         const Slice& slice, const Output& output);
  void Sample(const Tile& tile, const Panel& panel, const Slice& slice);
  PhaseSampler::Twins TimeTwins(const Tile& twin, const Panel& panel,
                                const Slice& slice);
  // `into` matters to MultiplySlice alone, the others go into tile.acc.
  void Multiply(const Tile& tile, const Panel& panel, const Slice& slice,
                const Product& into);
  void MultiplySlice(const Tile& tile, const Product& into);
  void AddSplitRows(const Tile& tile);
  void TakeProduct(const Tile& tile, const Panel& panel);
  void MultiplyGroups(const Tile& tile, const Panel& panel, const Slice& slice);
  void MultiplyWide(const Tile& tile, const Panel& panel);
  bool AddOutliers(const Tile& tile, const Panel& panel);
  const float* residual(size_t row, const Panel& panel) const {
    return task_.residual.row(row) + panel.begin - task_.first_column;
  }
  void Finish(const Tile& tile, const Panel& panel, const Output& output);

  const Int8Layer& layer_;
  const Kernel& kernel_;
  const LinearTask& task_;
  LinearScratch& scratch_;
  bool far_;             // weights come from beyond L2
  bool group_by_group_;  // rather than by dot_grouped: grouped_dot.h
  size_t tiles_;
  bool passes_once_;  // over a panel
  EvenParts tile_rows_;
  bool plain_;
  bool streams_;               // weights come at the pace of memory
  bool has_outliers_ = false;  // anywhere in the task
  // oneDNN's, of all rows and the range of columns that is under way.
  bool has_product_ = false;
  bool has_dense_codes_ = false;
  // Of the current slice: what its tiles share, which Multiply completes.
  DotTile dot_;
  bool is_last_slice_ = false;
  ScaledOutput scaled_;
  const float* residual_ = nullptr;
  const uint8_t* codes_ = nullptr;  // of the first row
  const int8_t* soon_ = nullptr;    // what the first tile asks the cache for
  size_t soon_step_ = 0;
  PhaseSampler sampler_;
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_LINEAR_TASK_RUN_H_
