// What a reservoir keeps, row after row.

#ifndef OCTET_TESTS_SERVER_QUANTIZATION_CALIBRATION_RESERVOIR_VALUES_H_
#define OCTET_TESTS_SERVER_QUANTIZATION_CALIBRATION_RESERVOIR_VALUES_H_

#include <vector>

#include "server/quantization/calibration/reservoir.h"

namespace octet::quantization {

inline std::vector<float> Values(const RowReservoir& reservoir) {
  const auto rows = reservoir.rows();
  return {rows.data, rows.data + rows.rows * rows.cols};
}

}  // namespace octet::quantization

#endif  // OCTET_TESTS_SERVER_QUANTIZATION_CALIBRATION_RESERVOIR_VALUES_H_
