#include "kernels/float_attention.h"

#include <cmath>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/float_companions.h"
#include "kernels/float_tasks.h"

namespace octet::kernels {
namespace {

// Kept by each thread between calls; grows to the longest sequence it met.
float* ThreadScratch(size_t size) {
  static thread_local AlignedBuffer scratch;
  scratch.Reserve(size * sizeof(float));
  return scratch.As<float>();
}

size_t Products(absl::Span<const int32_t> lengths, size_t width) {
  size_t products = 0;
  for (const int32_t length : lengths) {
    products +=
        2 * width * static_cast<size_t>(length) * static_cast<size_t>(length);
  }
  return products;
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
               absl::Span<const int32_t> lengths, AttentionPrecision precision,
               MatrixView<float> out, ThreadPool* pool) {
  const FloatCompanions& companions = HostFloatCompanions();
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
        .precision = precision,
    });
  };
  RunTasks(pool, Products(lengths, query.cols), lengths.size() * heads, run);
}

}  // namespace octet::kernels
