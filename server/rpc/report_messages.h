// The report as messages of octet.v1, field by field.

#ifndef OCTET_SERVER_RPC_REPORT_MESSAGES_H_
#define OCTET_SERVER_RPC_REPORT_MESSAGES_H_

#include "octet/v1/bundle_service.pb.h"
#include "server/bundle/report.h"

namespace octet::rpc {

void FillReport(const bundle::QuantizationReport& from,
                v1::QuantizationReport* out);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_REPORT_MESSAGES_H_
