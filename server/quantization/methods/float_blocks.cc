#include "server/quantization/methods/float_blocks.h"

#include <algorithm>
#include <vector>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/quantization/methods/weight_quantizer.h"

namespace octet::quantization {
namespace {

using model::TensorView;

constexpr size_t kBlockFloats = size_t{16} << 20;  // 64 MiB
constexpr size_t kTaskFloats = size_t{1} << 16;    // 256 KiB: stays in L2

absl::Status CheckFloat(std::string_view name, const TensorView& tensor) {
  if (model::IsFloat(tensor.type)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      model::StrCat("tensor '", name, "' is ", model::Name(tensor.type),
                    "; it must be F32, F16 or BF16"));
}

void Widen(model::DataType type, absl::Span<const std::byte> bytes,
           kernels::ThreadPool* pool, absl::Span<float> out) {
  const size_t size = model::SizeOf(type);
  const size_t tasks = (out.size() + kTaskFloats - 1) / kTaskFloats;
  const auto widen = [&](size_t task) {
    const size_t begin = task * kTaskFloats;
    const size_t count = std::min(kTaskFloats, out.size() - begin);
    model::WidenFloats(type, bytes.subspan(begin * size, count * size),
                       out.data() + begin);
  };
  if (pool != nullptr) return pool->ParallelFor(tasks, widen);
  for (size_t task = 0; task < tasks; ++task) widen(task);
}

}  // namespace

absl::Status ForEachBlock(const model::TensorSource& source,
                          std::string_view name,
                          absl::Span<const float> row_divisors,
                          size_t block_elements, kernels::ThreadPool* pool,
                          BlockBody body) {
  ASSIGN_OR_RETURN(const TensorView tensor, source.Find(name));
  RETURN_IF_ERROR(CheckFloat(name, tensor));
  const size_t size = model::SizeOf(tensor.type);
  const size_t elements = tensor.bytes.size() / size;
  const size_t columns =
      row_divisors.empty() ? 0 : elements / row_divisors.size();
  std::vector<float> block(std::min(block_elements, elements));
  for (size_t first = 0; first < elements; first += block_elements) {
    const size_t count = std::min(block_elements, elements - first);
    const auto bytes = tensor.bytes.subspan(first * size, count * size);
    const absl::Span<float> values(block.data(), count);
    Widen(tensor.type, bytes, pool, values);
    source.Release(bytes);
    RETURN_IF_ERROR(CheckFinite(name, values, tensor.shape, first));
    if (columns > 0) DivideRows(row_divisors, columns, first, values);
    RETURN_IF_ERROR(body(first, values));
  }
  return absl::OkStatus();
}

void DivideRows(absl::Span<const float> row_divisors, size_t columns,
                size_t first, absl::Span<float> values) {
  for (size_t i = 0; i < values.size();) {
    const size_t row = (first + i) / columns;
    const size_t end = std::min(values.size(), (row + 1) * columns - first);
    for (; i < end; ++i) values[i] /= row_divisors[row];
  }
}

size_t BlockElements(size_t columns) {
  return std::max<size_t>(1, kBlockFloats / std::max<size_t>(1, columns)) *
         columns;
}

}  // namespace octet::quantization
