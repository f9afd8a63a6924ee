"""What the server refuses, as one exception."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Iterator

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True)
class FieldViolation:
    """A field of the request, and what is wrong with it."""

    field: str
    description: str


class OctetError(Exception):
    """A call that failed.

    code:             the canonical code, grpc.StatusCode.NOT_FOUND
    message:          what is wrong, in words
    field_violations: the fields that are, when the server named them
    retry_delay:      seconds to wait before a retry, when the server said so
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        field_violations: tuple[FieldViolation, ...] = (),
        retry_delay: float | None = None,
    ):
        lines = [f"{code.name}: {message}"]
        for violation in field_violations:
            if violation.description not in message:
                lines.append(f"  {violation.field}: {violation.description}")
        super().__init__("\n".join(lines))
        self.code = code
        self.message = message
        self.field_violations = field_violations
        self.retry_delay = retry_delay

    @property
    def connection_broke(self) -> bool:
        """Whether the connection is to blame, and not the request."""
        if self.code is grpc.StatusCode.UNAVAILABLE:
            return True
        reset = "RST_STREAM" in self.message or "Stream removed" in self.message
        return reset and self.code in (
            grpc.StatusCode.INTERNAL,
            grpc.StatusCode.UNKNOWN,
        )


def from_status(status: status_pb2.Status) -> OctetError:
    """The error that a google.rpc.Status, as in Operation.error, describes."""
    violations: tuple[FieldViolation, ...] = ()
    delay = None
    for detail in status.details:
        request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(request):
            violations = tuple(
                FieldViolation(v.field, v.description)
                for v in request.field_violations
            )
        elif detail.Unpack(retry):
            delay = retry.retry_delay.ToTimedelta().total_seconds()
    name = code_pb2.Code.Name(status.code)
    return OctetError(grpc.StatusCode[name], status.message, violations, delay)


def from_rpc_error(error: grpc.RpcError) -> OctetError:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            return from_status(status_pb2.Status.FromString(value))
    return OctetError(error.code(), error.details() or "")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns grpc.RpcError of the block into OctetError."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None
