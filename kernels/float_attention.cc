#include "kernels/float_attention.h"

#include <cmath>
#include <vector>

#include "kernels/float_companions.h"
#include "kernels/float_tasks.h"

namespace octet::kernels {
namespace {

// Kept by each thread between calls; grows to the longest sequence it met.
float* ThreadScratch(size_t size) {
  static thread_local std::vector<float> scratch;
  if (scratch.size() < size) scratch.resize(size);
  return scratch.data();
}

// Kept by each calling thread, likewise.
const std::vector<size_t>& Starts(absl::Span<const int32_t> lengths) {
  static thread_local std::vector<size_t> starts;
  starts.resize(lengths.size());
  size_t start = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    starts[i] = start;
    start += static_cast<size_t>(lengths[i]);
  }
  return starts;
}

}  // namespace

void Attention(MatrixView<const float> query, MatrixView<const float> key,
               MatrixView<const float> value, size_t heads,
               absl::Span<const int32_t> lengths, MatrixView<float> out,
               ThreadPool* pool) {
  const FloatCompanions& companions = SelectFloatCompanions();
  const size_t width = query.cols / heads;
  const float scale = 1.0F / std::sqrt(static_cast<float>(width));
  const std::vector<size_t>& starts = Starts(lengths);
  const auto run = [&](size_t task) {
    const size_t start = starts[task / heads];
    const auto length = static_cast<size_t>(lengths[task / heads]);
    const size_t column = task % heads * width;
    companions.attention({
        .query = query.row(start) + column,
        .key = key.row(start) + column,
        .value = value.row(start) + column,
        .out = out.row(start) + column,
        .query_stride = query.stride,
        .key_stride = key.stride,
        .value_stride = value.stride,
        .out_stride = out.stride,
        .length = length,
        .width = width,
        .scale = scale,
        .scratch = ThreadScratch(companions.attention_scratch(length, width)),
    });
  };
  RunTasks(pool, lengths.size() * heads, run);
}

}  // namespace octet::kernels
