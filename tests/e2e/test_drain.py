"""SIGTERM under full load: what was admitted is answered, what comes later is
UNAVAILABLE and nothing else, and nobody holds the server up for ever."""

import queue
import signal
import time

import grpc
import numpy as np
import pytest

from support import checkpoints, ledger, wait
from support.api import pb
from support.client import Client, feature_inputs, header_of, tensor

WIDTH = 1024
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def serve(start_server):
    def start(*flags):
        server = start_server(None, *flags)
        with Client(server.address) as client:
            client.upload_checkpoint(
                "wide", checkpoints.mlp(widths=(WIDTH, WIDTH, WIDTH))
            )
            client.load("wide", "checkpoints/wide")
        return server

    return start


@pytest.mark.parametrize("round", range(3))
def test_full_load_loses_nothing_that_was_admitted(serve, round):
    server = serve("--drain-seconds=60")
    with ledger.load(server.address, WIDTH) as load:
        wait.until(
            lambda: all(load.answered(kind) > 5 for kind in load.kinds),
            "the load does not get under way",
            60,
        )
        server.terminate()
        assert server.wait(90) == 0
        time.sleep(0.2)  # calls that find nobody

    assert not load.wrong
    assert not load.lost(), load.lost()
    outcomes = {entry.outcome for entry in load.entries}
    assert {ledger.OK, ledger.REFUSED} <= outcomes, outcomes
    # A connection that ends under a call is UNAVAILABLE, too, or what gRPC's
    # client says when it gives up one that it began to send.
    others = outcomes - {
        ledger.OK,
        ledger.REFUSED,
        ledger.ABSENT,
        "CANCELLED: call attempt failed",
    }
    assert all(other.startswith("UNAVAILABLE: ") for other in others), others


def test_health_says_not_serving_and_calls_go_on_during_the_grace(serve):
    server = serve("--grace-seconds=3", "--drain-seconds=20")
    with Client(server.address) as client:
        x = feature_inputs(np.ones((1, WIDTH), np.float32))
        server.terminate()
        wait.until(lambda: "stopping: signal" in server.log_text())
        client.forward("wide", x)
        assert server.wait(30) == 0
        with pytest.raises(grpc.RpcError) as error:
            client.forward("wide", x)
    assert error.value.code() == UNAVAILABLE


def open_upload(client):
    """An upload that was begun and never goes on: the call."""
    messages = queue.Queue()
    messages.put(header_of("half", {"config.json": b"x" * 1000}))
    call = client.checkpoints.UploadCheckpoint.future(
        iter(messages.get, None), timeout=120
    )
    call.messages = messages
    return call


def in_flight(server, method):
    text = f'octet_rpc_in_flight{{method="{method}"}} 1'
    wait.until(lambda: text in server.metrics_text())


def test_a_second_signal_ends_it(serve):
    server = serve("--drain-seconds=120")
    with Client(server.address) as client:
        call = open_upload(client)
        in_flight(server, "CheckpointService/UploadCheckpoint")
        server.terminate()
        time.sleep(1.5)
        assert server.running(), "an upload is waited for"
        server.process.send_signal(signal.SIGINT)
        assert server.wait(10) == 0
        assert call.exception().code() == UNAVAILABLE
        call.messages.put(None)
    assert "stopping at once" in server.log_text()


def test_the_deadline_ends_it(serve):
    server = serve("--drain-seconds=1")
    with Client(server.address) as client:
        call = open_upload(client)
        in_flight(server, "CheckpointService/UploadCheckpoint")
        server.terminate()
        assert server.wait(10) == 0
        assert call.exception().code() == UNAVAILABLE
        call.messages.put(None)


def test_a_stream_of_requests_that_rests_holds_nobody_up(serve):
    server = serve("--drain-seconds=120")
    with Client(server.address) as client:
        messages = queue.Queue()
        request = pb.StreamMatMulRequest(
            id="7",
            request=pb.MatMulRequest(
                model="models/wide",
                layer="fc1",
                x=tensor(np.ones((1, WIDTH))),
            ),
        )
        messages.put(request)
        answers = client.inference.StreamMatMul(iter(messages.get, None))
        assert next(answers).id == "7"
        server.terminate()
        assert server.wait(10) == 0
        with pytest.raises(grpc.RpcError) as error:
            next(answers)
        assert error.value.code() == UNAVAILABLE
        messages.put(None)
