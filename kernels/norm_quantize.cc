#include "kernels/norm_quantize.h"

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "kernels/aligned_buffer.h"
#include "kernels/cpu_features.h"
#include "kernels/element_type.h"
#include "kernels/float_tasks.h"
#include "kernels/phase_sampler.h"
#include "kernels/quantize_rows.h"
#include "kernels/registry.h"

namespace octet::kernels {
namespace {

constexpr size_t kRowsPerSample = 16;  // whose coding is timed

// A transformed row. Kept by each thread between calls; grows to the longest.
float* ThreadValues(size_t width) {
  static thread_local AlignedBuffer values;
  values.Reserve(width * sizeof(float));
  return values.As<float>();
}

void Normalize(const FloatCompanions& companions, const NormQuantize& call,
               size_t m) {
  const float* x = call.x.row(m);
  float* y = call.y.row(m);
  const float* weight = call.weight.data();
  if (call.bias.empty()) {
    companions.rms_norm({x, y, weight, call.x.cols, call.epsilon});
  } else {
    companions.layer_norm(
        {x, y, weight, call.bias.data(), call.x.cols, call.epsilon});
  }
}

// Rows [begin, end); ticks that coding them took.
uint64_t RunRows(const FloatCompanions& companions, const TileOps& ops,
                 const NormQuantize& call, size_t begin, size_t end) {
  RowCoding coding = call.coding;
  coding.code_offset = 0;  // whoever reads the codes takes off its own
  const size_t width = call.x.cols;
  float* const values = coding.transforms() ? ThreadValues(width) : nullptr;
  uint64_t ticks = 0;
  for (size_t m = begin; m < end; ++m) {
    Normalize(companions, call, m);
    const bool sampled =
        call.quantize_ns != nullptr && (m - begin) % kRowsPerSample == 0;
    const uint64_t start = sampled ? ReadTicks() : 0;
    const MeasuredRow row = MeasureRow(ops, coding, call.y.row(m),
                                       ElementType::kFp32, width, values,
                                       /*outliers=*/nullptr);
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

void NormAndQuantizeWith(const FloatCompanions& companions, const TileOps& ops,
                         const NormQuantize& call) {
  AddTime(call, RunRows(companions, ops, call, 0, call.x.rows));
}

void NormAndQuantize(const NormQuantize& call, ThreadPool* pool) {
  const FloatCompanions& companions = HostFloatCompanions();
  const TileOps& ops = *SelectKernel(HostFeatures()).ops;
  std::atomic<uint64_t> ticks = 0;
  RunNormedRows(pool, call.x.rows, call.x.cols, [&](size_t begin, size_t end) {
    ticks += RunRows(companions, ops, call, begin, end);
  });
  AddTime(call, ticks);
}

}  // namespace octet::kernels
