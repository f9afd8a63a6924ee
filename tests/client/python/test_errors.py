"""google.rpc details become attributes of OctetError."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2


@pytest.fixture
def refusal():
    status = status_pb2.Status(code=3, message="the plan cannot be made")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(250)
    request = error_details_pb2.BadRequest()
    request.field_violations.add(
        field="spec.include[0]", description="'x.*' matches no layer"
    )
    for detail in (retry, request):
        status.details.add().Pack(detail)
    return status


def test_details_become_attributes(refusal):
    from octet_client.errors import from_status

    error = from_status(refusal)
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.message == "the plan cannot be made"
    assert error.field_violations[0].field == "spec.include[0]"
    assert error.retry_delay == 0.25
    assert str(error).splitlines() == [
        "INVALID_ARGUMENT: the plan cannot be made",
        "  spec.include[0]: 'x.*' matches no layer",
    ]


def test_a_violation_is_not_said_twice(refusal):
    from octet_client.errors import from_status

    refusal.message = "spec.include[0]: 'x.*' matches no layer"
    assert str(from_status(refusal)).count("matches no layer") == 1


def test_only_a_lost_transport_is_worth_another_try():
    from octet_client import OctetError

    code = grpc.StatusCode
    assert OctetError(code.UNAVAILABLE, "Socket closed").connection_broke
    assert OctetError(code.INTERNAL, "Received RST_STREAM").connection_broke
    assert not OctetError(code.INTERNAL, "bug").connection_broke
    assert not OctetError(code.NOT_FOUND, "RST_STREAM").connection_broke


def test_an_unreachable_server_is_an_octet_error():
    import octet_client

    with (
        octet_client.Client("127.0.0.1:1", timeout=5) as client,
        pytest.raises(octet_client.OctetError) as caught,
    ):
        client.list_models()
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
