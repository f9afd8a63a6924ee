// A calibration in a few lines: counts, warnings, and what is captured into it.

#ifndef OCTET_CLIENT_CLI_CALIBRATION_SUMMARY_H_
#define OCTET_CLIENT_CLI_CALIBRATION_SUMMARY_H_

#include "client/cli/session.h"

namespace octet::cli {

void ShowSummary(Session& session, const v1::Calibration& calibration);

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_CALIBRATION_SUMMARY_H_
