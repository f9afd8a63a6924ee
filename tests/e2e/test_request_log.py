"""What is logged of calls, what one client may have in flight, and whom a
trace belongs to."""

import contextlib
import json
import re
import threading
import time

import grpc
import numpy as np
import pytest

from support import checkpoints
from support.api import error_details, pb, rpc_status
from support.client import Client, feature_inputs

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def lines(server):
    return [
        json.loads(text)
        for text in re.findall(r"request (\{.*\})$", server.log_text(), re.M)
    ]


def serve(start_server, *flags):
    server = start_server(None, *flags)
    with Client(server.address) as client:
        client.upload_checkpoint("mlp", checkpoints.mlp())
        client.load("mlp", "checkpoints/mlp")
    return server


def fail(client, metadata=()):
    request = pb.ForwardRequest(
        model="models/nowhere",
        inputs=feature_inputs(np.ones((1, 48), np.float32)),
    )
    with pytest.raises(grpc.RpcError) as error:
        client.inference.Forward(request, metadata=metadata, timeout=10)
    return error.value


def test_a_failed_call_has_one_line_and_the_others_none(start_server):
    server = serve(start_server, "--slow-request-seconds=1000")
    with Client(server.address) as client:
        client.forward("mlp", feature_inputs(np.ones((3, 48), np.float32)))
        assert lines(server) == []
        error = fail(client, (("traceparent", PARENT),))
    trailing = dict(error.trailing_metadata())["traceparent"]
    (line,) = lines(server)
    assert line["trace"] == TRACE
    assert trailing == f"00-{TRACE}-{line['id']}-01"
    assert line["method"] == "InferenceService/Forward"
    assert line["model"] == "models/nowhere"
    assert line["code"] == "NOT_FOUND"
    assert line["message"] == error.details()
    assert line["client"] == "127.0.0.1"
    assert line["peer"].startswith("ipv4:127.0.0.1:")
    assert line["received_bytes"] > 48 * 4
    assert line["total_ms"] >= line["queue_ms"] >= 0


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        PARENT.upper(),
        PARENT.replace("00-", "ff-", 1),
        PARENT + "0",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
    ],
)
def test_without_a_valid_parent_a_new_trace_begins(start_server, header):
    server = serve(start_server)
    with Client(server.address) as client:
        error = fail(client, (("traceparent", header),) if header else ())
    trailing = dict(error.trailing_metadata())["traceparent"]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", trailing)
    assert TRACE not in trailing


def test_a_slow_call_has_a_line(start_server):
    server = serve(start_server, "--slow-request-seconds=0.000001")
    with Client(server.address) as client:
        client.forward("mlp", feature_inputs(np.ones((3, 48), np.float32)))
    line = lines(server)[-1]
    assert (line["code"], line["slow"]) == ("OK", True)
    assert line["sent_bytes"] > 0


def test_the_rate_of_lines_is_bounded(start_server):
    server = serve(start_server)
    with Client(server.address) as client:
        for _ in range(300):
            fail(client)
        assert 0 < len(lines(server)) < 200
        time.sleep(1.2)
        fail(client)
    assert "lines were left out" in server.log_text()


def test_a_client_with_too_many_calls_is_told_to_wait(start_server):
    server = serve(start_server, "--client-max-calls=2")
    release = threading.Event()

    def rest():
        release.wait(30)
        yield from ()

    with Client(server.address) as client:
        open_calls = [
            client.checkpoints.UploadCheckpoint.future(rest(), timeout=60)
            for _ in range(2)
        ]
        deadline = time.monotonic() + 10
        while True:
            try:
                client.models.ListModels(pb.ListModelsRequest(), timeout=10)
                assert time.monotonic() < deadline
            except grpc.RpcError as error:
                refused = error
                break
        assert refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "has 2 calls in flight" in refused.details()
        details = rpc_status.Status.FromString(
            dict(refused.trailing_metadata())["grpc-status-details-bin"]
        )
        assert any(
            d.Is(error_details.RetryInfo.DESCRIPTOR) for d in details.details
        )
        release.set()
        for call in open_calls:
            call.exception()
        # The server may forget them a moment after their client.
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(grpc.RpcError):
                client.models.ListModels(pb.ListModelsRequest(), timeout=10)
                return
        pytest.fail("the client may not come back")


def test_a_message_larger_than_what_a_client_may_hold_goes_alone(start_server):
    server = serve(start_server, "--client-max-mib=1")
    with Client(server.address) as client:
        x = feature_inputs(np.ones((20000, 48), np.float32))
        assert client.forward("mlp", x).shape[0] == 20000
