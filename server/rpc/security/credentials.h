// The gRPC port's credentials: TLS or none, and the check of tokens.
//
// Tokens are checked in gRPC's filter for it, which sees the headers of every
// call of every service (streams, raw methods, reflection, unknown ones) before
// one byte of a message is read: who may not call cannot make the server hold
// anything. The price is that such a refusal has a code and a sentence but no
// google.rpc details. gRPC's C++ interface offers the filter with TLS only; its
// C interface, used here, on any port.

#ifndef OCTET_SERVER_RPC_SECURITY_CREDENTIALS_H_
#define OCTET_SERVER_RPC_SECURITY_CREDENTIALS_H_

#include <memory>

#include "server/rpc/security/authorization.h"
#include "server/rpc/security/key_store.h"

namespace grpc {
class ServerCredentials;
}

namespace octet::rpc {

// Without `keys` plaintext, without `authorizer` open to anyone. Both, and what
// is returned, have to outlive the server: gRPC holds plain pointers to them.
std::shared_ptr<grpc::ServerCredentials> MakeCredentials(
    const KeyStore* keys, const Authorizer* authorizer);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_SECURITY_CREDENTIALS_H_
