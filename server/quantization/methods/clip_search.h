// What clipping and rounding to codes do to a histogram, and the searches for
// the clip that does least (calibrators.h).
//
// Values are even within a bin [a, b), cut to the extremes seen. The squared
// error of codes with scale s is then an integral with a closed form. With
// u = x / s, k = round(u), f = u - k, between the ends of the codes:
//
//   integral from 0 to u of (v - round(v))^2 dv = k / 12 + f^3 / 3
//
// and (x - end)^2 beyond an end, so that nothing is sampled.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_CLIP_SEARCH_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_CLIP_SEARCH_H_

#include "server/quantization/calibration/statistics.h"
#include "server/quantization/methods/affine.h"
#include "server/quantization/methods/calibrators.h"

namespace octet::quantization {

// Sum over all values of (x - dequantized code of x)^2.
double SquaredError(const LayerStatistics& statistics,
                    const AffineParameters& codes);

// Values outside of `range`.
double CountOutside(Range range, const LayerStatistics& statistics);

Range LeastSquaredError(const LayerStatistics& statistics);
Range LeastDivergence(const LayerStatistics& statistics);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_CLIP_SEARCH_H_
