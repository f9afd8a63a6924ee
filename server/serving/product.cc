#include "server/serving/product.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <mutex>
#include <new>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "kernels/aligned_buffer.h"
#include "kernels/finite.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"

namespace octet::serving {
namespace {

using kernels::MatrixView;

// Half of the second-level cache of an older core.
constexpr size_t kPieceBytes = size_t{1} << 18;
// The most rows of a tile of any kernel.
constexpr size_t kRowsTogether = 16;
// So that threads end at about the same time.
constexpr size_t kPiecesPerThread = 4;

// Each thread's own, for as long as it lives: kPieceBytes, or more where wide
// weights make pieces larger, but no more than that part of a message.
float* Scratch(size_t bytes) {
  static thread_local kernels::AlignedBuffer buffer;
  if (buffer.size() < bytes) {
    buffer = kernels::AlignedBuffer::Uninitialized(bytes);
  }
  return buffer.As<float>();
}

absl::Status CheckFinite(MatrixView<const float> x, size_t first_row) {
  const std::optional<size_t> at =
      kernels::FirstNonFinite(absl::MakeConstSpan(x.data, x.rows * x.cols));
  if (!at) return absl::OkStatus();
  return absl::InvalidArgumentError(model::StrCat(
      "x[", first_row + *at / x.cols, "][", *at % x.cols, "]: is ",
      std::isnan(x.data[*at]) ? "NaN" : "infinite", "; it must be finite"));
}

class Product {
 public:
  Product(const model::LinearLayer& weights, const FetchedRows& x,
          const MatMulOptions& options, MatrixView<float> y)
      : weights_(weights), x_(x), options_(options), y_(y) {}

  absl::Status Run(MatMulTimes* times) {
    const absl::Time start = absl::Now();
    const size_t rows = PieceRows();
    const size_t threads =
        options_.pool == nullptr ? 1 : options_.pool->threads();
    if (x_.rows >= kPiecesPerThread * threads * rows) {
      RETURN_IF_ERROR(InPieces(rows, [this](size_t first, size_t count) {
        return MultiplyPiece(first, count);
      }));
    } else {
      RETURN_IF_ERROR(MultiplyWhole());
    }
    // What passed on the clock, divided as the pieces' time was.
    const absl::Duration passed = absl::Now() - start;
    const double share = absl::FDivDuration(
        fetched_, std::max(fetched_ + computed_, absl::Nanoseconds(1)));
    *times = {share * passed, (1.0 - share) * passed, phases_};
    return absl::OkStatus();
  }

 private:
  size_t RowBytes() const { return x_.cols * sizeof(float); }
  size_t CachedRows() const {
    return std::max<size_t>(1, kPieceBytes / RowBytes());
  }

  // So many that the codes of the weights, which are read for each piece, are
  // at most half of what is read.
  size_t PieceRows() const {
    const size_t rows = std::max(CachedRows(), y_.cols / 2);
    return (rows + kRowsTogether - 1) / kRowsTogether * kRowsTogether;
  }

  absl::Status MultiplyPiece(size_t first, size_t count) {
    float* const x = Scratch(count * RowBytes());
    RETURN_IF_ERROR(Fetch(first, count, x));
    return Compute({x, count, x_.cols}, y_.Rows(first, count),
                   /*pool=*/nullptr);
  }

  absl::Status MultiplyWhole() {
    const size_t bytes = x_.rows * RowBytes();
    kernels::AlignedBuffer large;
    if (bytes > kPieceBytes) {
      large = kernels::AlignedBuffer::Uninitialized(bytes);
    }
    float* const x = large.size() > 0 ? large.As<float>() : Scratch(bytes);
    const absl::Time start = absl::Now();
    RETURN_IF_ERROR(
        InPieces(CachedRows(), [this, x](size_t first, size_t count) {
          return Fetch(first, count, x + first * x_.cols);
        }));
    fetched_ = absl::Now() - start;
    return Compute({x, x_.rows, x_.cols}, y_, options_.pool);
  }

  absl::Status Fetch(size_t first, size_t count, float* to) {
    const absl::Time start = absl::Now();
    RETURN_IF_ERROR(x_.fetch(first, count, to));
    if (!options_.allow_non_finite) {
      RETURN_IF_ERROR(CheckFinite({to, count, x_.cols}, first));
    }
    const std::scoped_lock lock(mutex_);
    fetched_ += absl::Now() - start;
    return absl::OkStatus();
  }

  absl::Status Compute(MatrixView<const float> x, MatrixView<float> y,
                       kernels::ThreadPool* pool) {
    const absl::Time start = absl::Now();
    kernels::PhaseTimes phases;
    kernels::LinearCall how;
    how.pool = pool;
    how.times = &phases;
    RETURN_IF_ERROR(weights_.Run(x, y, how));
    const std::scoped_lock lock(mutex_);
    computed_ += absl::Now() - start;
    phases_ += phases;
    return absl::OkStatus();
  }

  // The error of the first piece that has one.
  absl::Status InPieces(
      size_t rows,
      absl::FunctionRef<absl::Status(size_t first, size_t count)> work) const {
    const size_t pieces = (x_.rows + rows - 1) / rows;
    std::vector<absl::Status> statuses(pieces);
    const auto run = [&](size_t piece) {
      const size_t first = piece * rows;
      try {
        statuses[piece] = work(first, std::min(rows, x_.rows - first));
      } catch (const std::bad_alloc&) {
        statuses[piece] = absl::ResourceExhaustedError(
            "the server has not enough memory for rows of x");
      }
    };
    if (options_.pool == nullptr || pieces == 1) {
      for (size_t piece = 0; piece < pieces; ++piece) run(piece);
    } else {
      options_.pool->ParallelFor(pieces, run);
    }
    for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
    return absl::OkStatus();
  }

  const model::LinearLayer& weights_;
  const FetchedRows& x_;
  const MatMulOptions& options_;
  const MatrixView<float> y_;
  std::mutex mutex_;
  absl::Duration fetched_;      // guarded by mutex_; of all threads
  absl::Duration computed_;     // likewise
  kernels::PhaseTimes phases_;  // likewise
};

}  // namespace

absl::Status Multiply(const model::LinearLayer& weights, const FetchedRows& x,
                      const MatMulOptions& options, MatrixView<float> y,
                      MatMulTimes* times) {
  return Product(weights, x, options, y).Run(times);
}

}  // namespace octet::serving
