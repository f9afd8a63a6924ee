// Large weights stand on huge pages, where the system gives them: aligned to
// 2 MiB, and asked for with madvise, which /proc/self/smaps shows as "hg".

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/aligned_buffer.h"
#include "kernels/packed_weights.h"
#include "kernels/registry.h"
#include "tests/kernels/kernel_testing.h"

namespace octet::kernels {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

size_t AddressOf(const void* p) { return reinterpret_cast<uintptr_t>(p); }

// The VmFlags of the mapping around `p`; nothing where the system tells none.
std::optional<std::string> FlagsAt(const void* p) {
  std::ifstream smaps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    size_t begin = 0;
    size_t end = 0;
    char dash = 0;
    std::istringstream range(line);
    if (range >> std::hex >> begin >> dash >> end && dash == '-') {
      inside = begin <= AddressOf(p) && AddressOf(p) < end;
    } else if (inside && line.rfind("VmFlags:", 0) == 0) {
      return line;
    }
  }
  return std::nullopt;
}

bool IsAdvised(const void* p) {
  return FlagsAt(p).value_or("").find(" hg") != std::string::npos;
}

// Not on kernels without huge pages, nor on emulated ones, which take advice
// and do nothing with it.
bool AdviceShowsHere() {
  void* memory = std::aligned_alloc(kHugePage, kHugePage);
  madvise(memory, kHugePage, MADV_HUGEPAGE);
  const bool shows = IsAdvised(memory);
  std::free(memory);
  return shows;
}

void ExpectHuge(const void* p) {
  EXPECT_EQ(AddressOf(p) % kHugePage, 0);
  if (!AdviceShowsHere()) {
    GTEST_SKIP() << "advice does not show here: madvise is NOT TESTED";
  }
  EXPECT_TRUE(IsAdvised(p));
}

TEST(HugePages, ALargeBufferIsAlignedAndAdvised) {
  const AlignedBuffer zeroed(kHugePage);
  const AlignedBuffer plain = AlignedBuffer::Uninitialized(3 * kHugePage + 5);
  ExpectHuge(zeroed.As<char>());
  ExpectHuge(plain.As<char>());
}

TEST(HugePages, ASmallBufferStandsOnACacheLine) {
  for (const size_t bytes : {size_t{1}, size_t{4097}, kHugePage - 1}) {
    EXPECT_EQ(AddressOf(AlignedBuffer(bytes).As<char>()) % 64, 0) << bytes;
  }
}

class HugePagesOf : public EveryKernel {};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(HugePagesOf);

TEST_P(HugePagesOf, LargePackedWeights) {
  constexpr size_t kN = 1024;
  constexpr size_t kK = 2048;
  const std::vector<int8_t> codes(kN * kK, 1);
  const PackedWeights weights(kernel(), {codes.data(), kN, kK});
  ExpectHuge(weights.panel(0).codes);
}

}  // namespace
}  // namespace octet::kernels
