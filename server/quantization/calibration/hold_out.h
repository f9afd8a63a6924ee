// Samples that are measured on and never fitted to: what GPTQ, bias correction
// and ranges of kept rows make of rows that they know says nothing of inputs
// that nobody has seen.

#ifndef OCTET_SERVER_QUANTIZATION_CALIBRATION_HOLD_OUT_H_
#define OCTET_SERVER_QUANTIZATION_CALIBRATION_HOLD_OUT_H_

#include "server/quantization/calibration/calibration.h"

namespace octet::quantization {

// Takes the rows of whole samples out of the rows that are kept of each input:
// those of the samples kept, from the last one on, as long as no input loses
// more than half of its rows. So all samples are held out where many more were
// calibrated on than are kept, and none of a single one. Statistics stay those
// of all samples.
void HoldOut(Calibration& calibration);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_CALIBRATION_HOLD_OUT_H_
