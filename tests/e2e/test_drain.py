"""SIGTERM under full load: what was admitted is answered, what comes later is
UNAVAILABLE and nothing else, and nobody holds the server up for ever."""

import queue
import signal
import threading
import time

import grpc
import numpy as np
import pytest

from support import checkpoints
from support.api import pb
from support.client import Client, feature_inputs, header_of, tensor

WIDTH = 1024
CLIENTS = 24
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


class Load:
    """Clients that call one after the other until the server is gone."""

    def __init__(self, address, rows=256):
        x = np.random.default_rng(3).normal(0, 1, (rows, WIDTH))
        self.inputs = feature_inputs(x.astype(np.float32))
        self.address = address
        with Client(address) as client:
            self.expected = client.forward("wide", self.inputs)
        self.calls = []  # (when it was sent, the status)
        self.wrong = 0
        self.stop = threading.Event()
        self.threads = [
            threading.Thread(target=self._run) for _ in range(CLIENTS)
        ]
        for thread in self.threads:
            thread.start()

    def _run(self):
        with Client(self.address) as client:
            while not self.stop.is_set():
                sent = time.monotonic()
                try:
                    answer = client.forward("wide", self.inputs)
                    self.calls.append((sent, grpc.StatusCode.OK))
                    if not np.array_equal(answer, self.expected):
                        self.wrong += 1
                except grpc.RpcError as error:
                    self.calls.append((sent, error.code()))
                    time.sleep(0.001)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("round", range(3))
def test_full_load_loses_nothing_that_was_admitted(serve, round):
    server = serve("--drain-seconds=60")
    load = Load(server.address)
    time.sleep(2)
    signalled = time.monotonic()
    server.terminate()
    assert server.wait(90) == 0
    time.sleep(0.2)
    load.end()

    assert load.wrong == 0
    codes = {code for _, code in load.calls}
    assert codes <= {grpc.StatusCode.OK, UNAVAILABLE}, codes
    # Half a second is enough for a request to arrive.
    early = [code for sent, code in load.calls if sent < signalled - 0.5]
    assert early and set(early) == {grpc.StatusCode.OK}
    late = [code for sent, code in load.calls if sent > signalled + 0.5]
    assert set(late) <= {UNAVAILABLE}


def test_health_says_not_serving_and_calls_go_on_during_the_grace(serve):
    server = serve("--grace-seconds=3", "--drain-seconds=20")
    with Client(server.address) as client:
        x = feature_inputs(np.ones((1, WIDTH), np.float32))
        server.terminate()
        deadline = time.monotonic() + 2
        while "stopping: signal" not in server.log_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
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
    deadline = time.monotonic() + 10
    while text not in server.metrics_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


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
