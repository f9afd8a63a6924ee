// Names in the file of a calibration, shared by Save and LoadCalibration.
// A calibration is one safetensors file. Counters, options and the names of
// the layers stand in the metadata; input i (in the order of those names) has
//   i/numbers I64 [6]         rows, batches, named rows, row capacity, and the
//                             histogram's exponent and first bin
//   i/range F32 [2]           i/batch_sums F64 [2] (of minima, of maxima)
//   i/columns F32 [2, K]      (minima, maxima)
//   i/column_sums F64 [2, K]  (of values, of squares)
//   i/histogram I64 [bins]
//   i/row_keys I64 [R]        i/row_values F32 [R, K]
// and the calibration itself
//   kept/keys I64 [S]         kept/token_ids I32, kept/lengths I32, or
//                             kept/features F32 [S, width]
//   sketch/keys I64 [n]       sketch/signatures I32 [n, 32], sketch/near I32
//   [n]

#ifndef OCTET_SERVER_QUANTIZATION_CALIBRATION_CALIBRATION_FILE_H_
#define OCTET_SERVER_QUANTIZATION_CALIBRATION_CALIBRATION_FILE_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/model/tensor.h"
#include "server/quantization/calibration/calibration.h"

namespace octet::quantization {

inline constexpr char kCalibrationFormat[] = "octet-calibration-2";

inline constexpr char kNumbers[] = "/numbers";
inline constexpr char kRange[] = "/range";
inline constexpr char kBatchSums[] = "/batch_sums";
inline constexpr char kColumns[] = "/columns";
inline constexpr char kColumnSums[] = "/column_sums";
inline constexpr char kHistogram[] = "/histogram";
inline constexpr char kRowKeys[] = "/row_keys";
inline constexpr char kRowValues[] = "/row_values";
inline constexpr char kKeptKeys[] = "kept/keys";
inline constexpr char kKeptTokens[] = "kept/token_ids";
inline constexpr char kKeptLengths[] = "kept/lengths";
inline constexpr char kKeptFeatures[] = "kept/features";
inline constexpr char kSketchKeys[] = "sketch/keys";
inline constexpr char kSketchSignatures[] = "sketch/signatures";
inline constexpr char kSketchNear[] = "sketch/near";

template <typename T>
constexpr model::DataType CalibrationType() {
  if constexpr (std::is_same_v<T, float>) return model::DataType::kF32;
  if constexpr (std::is_same_v<T, double>) return model::DataType::kF64;
  if constexpr (std::is_same_v<T, int32_t>) return model::DataType::kI32;
  return model::DataType::kI64;
}

// LoadCalibration of bytes in memory. Errors say what is wrong with them, and
// not of which file they are.
absl::StatusOr<Calibration> ParseCalibration(absl::Span<const std::byte> file,
                                             Load what);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_CALIBRATION_CALIBRATION_FILE_H_
