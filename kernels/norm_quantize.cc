#include "kernels/norm_quantize.h"

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "kernels/cpu_features.h"
#include "kernels/element_type.h"
#include "kernels/float_tasks.h"
#include "kernels/phase_sampler.h"
#include "kernels/quantize_rows.h"
#include "kernels/registry.h"

namespace octet::kernels {
namespace {

constexpr size_t kRowsPerTask = 64;    // some 15 us: worth waking a thread for
constexpr size_t kRowsPerSample = 16;  // whose coding is timed

// Rows [begin, end); ticks that coding them took.
uint64_t RunRows(const FloatCompanions& companions, const TileOps& ops,
                 const NormQuantize& call, size_t begin, size_t end) {
  const RowCoding coding;
  const size_t width = call.x.cols;
  uint64_t ticks = 0;
  for (size_t m = begin; m < end; ++m) {
    float* const y = call.y.row(m);
    companions.layer_norm({call.x.row(m), y, call.weight.data(),
                           call.bias.data(), width, call.epsilon});
    const bool sampled =
        call.quantize_ns != nullptr && (m - begin) % kRowsPerSample == 0;
    const uint64_t start = sampled ? ReadTicks() : 0;
    const MeasuredRow row =
        MeasureRow(ops, coding, y, ElementType::kFp32, width, nullptr, nullptr);
    CodeRow(ops, coding, row, width, width, call.codes.row(m));
    call.scales[m] = row.scale;
    if (!sampled) continue;
    ticks += (ReadTicks() - start) * std::min(kRowsPerSample, end - m);
  }
  return ticks;
}

void AddTime(const NormQuantize& call, uint64_t ticks) {
  if (call.quantize_ns == nullptr) return;
  *call.quantize_ns +=
      static_cast<uint64_t>(static_cast<double>(ticks) * NanosecondsPerTick());
}

}  // namespace

void LayerNormQuantizeWith(const FloatCompanions& companions,
                           const TileOps& ops, const NormQuantize& call) {
  AddTime(call, RunRows(companions, ops, call, 0, call.x.rows));
}

void LayerNormQuantize(const NormQuantize& call, ThreadPool* pool) {
  const FloatCompanions& companions = SelectFloatCompanions();
  const TileOps& ops = *SelectKernel(HostFeatures()).ops;
  std::atomic<uint64_t> ticks = 0;
  const auto run = [&](size_t task) {
    const size_t begin = task * kRowsPerTask;
    const size_t end = std::min(call.x.rows, begin + kRowsPerTask);
    ticks += RunRows(companions, ops, call, begin, end);
  };
  RunTasks(pool, (call.x.rows + kRowsPerTask - 1) / kRowsPerTask, run);
  AddTime(call, ticks);
}

}  // namespace octet::kernels
