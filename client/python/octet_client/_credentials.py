"""Who the server is, and who we are: channels with TLS and a bearer token."""

from __future__ import annotations

import ipaddress
import pathlib
from typing import Any, NamedTuple, Optional

import grpc

from octet_client._files import Path


class _CallDetails(
    NamedTuple(
        "_CallDetails",
        [
            ("method", str),
            ("timeout", Optional[float]),
            ("metadata", Any),
            ("credentials", Any),
            ("wait_for_ready", Any),
            ("compression", Any),
        ],
    ),
    grpc.ClientCallDetails,
):
    pass


class _Bearer(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Sends the token with every call, with TLS or without."""

    def __init__(self, token: str):
        self._header = ("authorization", f"Bearer {token}")

    def _with_token(self, details: Any) -> _CallDetails:
        return _CallDetails(
            details.method,
            details.timeout,
            [*(details.metadata or ()), self._header],
            details.credentials,
            getattr(details, "wait_for_ready", None),
            getattr(details, "compression", None),
        )

    def intercept_unary_unary(self, proceed, details, request):
        return proceed(self._with_token(details), request)

    def intercept_unary_stream(self, proceed, details, request):
        return proceed(self._with_token(details), request)

    def intercept_stream_unary(self, proceed, details, requests):
        return proceed(self._with_token(details), requests)

    def intercept_stream_stream(self, proceed, details, requests):
        return proceed(self._with_token(details), requests)


def _is_local(server: str) -> bool:
    """Whether what is sent to `server` stays on this machine."""
    if server.startswith("unix:"):
        return True
    host = server.rpartition(":")[0]
    if host == "localhost":
        return True
    # Without brackets, gRPC takes "::1:8001" for an address and no port.
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        if bracketed:
            return ipaddress.IPv6Address(host[1:-1]).is_loopback
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def _read(path: Optional[Path]) -> Optional[bytes]:
    return None if path is None else pathlib.Path(path).read_bytes()


def open_channel(
    server: str,
    options: list,
    tls: bool,
    tls_ca: Optional[Path],
    tls_cert: Optional[Path],
    tls_key: Optional[Path],
    tls_server_name: Optional[str],
    token_file: Optional[Path],
    allow_plaintext_tokens: bool,
) -> grpc.Channel:
    """The arguments are those of Client. ValueError for a combination that is
    less safe than it looks; OSError for a file that cannot be read."""
    if (tls_cert is None) != (tls_key is None):
        raise ValueError("tls_cert and tls_key go together")
    encrypted = tls or tls_ca is not None or tls_cert is not None
    if tls_server_name is not None:
        if not encrypted:
            raise ValueError("tls_server_name needs tls=True or tls_ca")
        name = ("grpc.ssl_target_name_override", tls_server_name)
        options = [*options, name]
    if encrypted:
        credentials = grpc.ssl_channel_credentials(
            _read(tls_ca), _read(tls_key), _read(tls_cert)
        )
        channel = grpc.secure_channel(server, credentials, options)
    else:
        channel = grpc.insecure_channel(server, options)
    if token_file is None:
        return channel
    if not (encrypted or allow_plaintext_tokens or _is_local(server)):
        raise ValueError(
            f"the token would be sent to {server} in plaintext: use TLS, or "
            "allow_plaintext_tokens=True"
        )
    token = pathlib.Path(token_file).read_text().strip()
    if not token or any(not "!" <= c <= "~" for c in token):
        raise ValueError(f"{token_file} must hold one token and nothing else")
    return grpc.intercept_channel(channel, _Bearer(token))
