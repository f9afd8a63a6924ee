// Taking no more connections. gRPC 1.51 offers that only together with the end
// of the server, and ends calls that come meanwhile with CANCELLED; a client
// that cannot connect is told UNAVAILABLE, and looks elsewhere.

#ifndef OCTET_SERVER_RPC_LISTENERS_H_
#define OCTET_SERVER_RPC_LISTENERS_H_

namespace octet::rpc {

// Shuts down the sockets of this process that listen on TCP port `port`.
// Connections that they accepted go on.
void StopListening(int port);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_LISTENERS_H_
