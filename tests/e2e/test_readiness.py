"""What the server says of itself while it starts, works and stops, and of a
model while it is loaded."""

import threading

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc import StatusCode
from tritonclient.grpc import service_pb2, service_pb2_grpc

from support import checkpoints, wait
from support.client import Client, feature_inputs
from support.oip import fails, tensor
from support.server import free_port

WIDTH = 1024
MODELS = 24
X = [tensor("x", np.ones((1, WIDTH), np.float32))]


def upload_wide(client, hidden=2 * WIDTH):
    files = checkpoints.mlp(widths=(WIDTH, hidden, WIDTH))
    client.upload_checkpoint("wide", files)


class Watcher(threading.Thread):
    """Asks a server that may not be there yet, until it is ready."""

    def __init__(self, address):
        super().__init__()
        self.address = address
        self.seen = []  # (live, ready, the first model is ready)
        self.refused = None
        self.start()

    def run(self):
        options = [
            (f"grpc.{which}_reconnect_backoff_ms", 20)
            for which in ("initial", "min", "max")
        ]
        with grpc.insecure_channel(self.address, options) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            ask = {"wait_for_ready": True, "timeout": 60}
            while not self.seen or not self.seen[-1][1]:
                live = stub.ServerLive(service_pb2.ServerLiveRequest(), **ask)
                model = stub.ModelReady(
                    service_pb2.ModelReadyRequest(name="m0"), **ask
                )
                ready = stub.ServerReady(
                    service_pb2.ServerReadyRequest(), **ask
                )
                self.seen.append((live.live, ready.ready, model.ready))
                if self.refused is None:
                    try:
                        stub.ServerMetadata(
                            service_pb2.ServerMetadataRequest(), **ask
                        )
                        self.refused = ""
                    except grpc.RpcError as error:
                        self.refused = f"{error.code()}: {error.details()}"


def test_while_it_starts_it_is_live_and_not_ready(start_server, tmp_path):
    server = start_server(tmp_path)
    with Client(server.address) as client:
        upload_wide(client)
        for i in range(MODELS):
            client.load(f"m{i}", "checkpoints/wide")
    assert server.stop() == 0

    address = f"127.0.0.1:{free_port()}"
    watcher = Watcher(address)
    start_server(tmp_path, grpc_address=address)
    watcher.join(60)
    assert watcher.seen[0] == (True, False, False)
    assert watcher.seen[-1][:2] == (True, True)
    assert "UNAVAILABLE: the server is starting" in watcher.refused


@pytest.fixture
def wide(start_server):
    """(server, octet.v1's client, tritonclient) with the model "wide"."""
    server = start_server(
        None,
        "--grace-seconds=2",
        "--drain-seconds=60",
        "--allow-shared-memory",
    )
    with (
        Client(server.address) as client,
        triton.InferenceServerClient(server.address) as oip,
    ):
        upload_wide(client)
        client.load("wide", "checkpoints/wide")
        yield server, client, oip


def test_while_it_leaves_it_is_not_ready_but_serves(wide):
    server, _, oip = wide
    assert oip.is_server_ready()
    assert oip.is_model_ready("wide")
    server.terminate()
    wait.until(lambda: not oip.is_server_ready())
    assert oip.is_server_live()
    assert not oip.is_model_ready("wide")
    oip.infer("wide", X)
    assert server.wait(30) == 0


def test_while_it_stops_it_is_not_ready_and_takes_nothing(wide):
    server, client, oip = wide
    # A call that holds up the drain.
    release = threading.Event()

    def rest():
        release.wait(60)
        yield from ()

    held = client.checkpoints.UploadCheckpoint.future(rest(), timeout=90)
    text = 'octet_rpc_in_flight{method="CheckpointService/UploadCheckpoint"} 1'
    wait.until(lambda: text in server.metrics_text())
    oip.is_server_ready()  # so that there is a connection
    server.terminate()

    def stopping():
        try:
            client.forward("wide", feature_inputs(np.ones((1, WIDTH))))
        except grpc.RpcError as error:
            return "the server is stopping" in error.details()

    wait.until(stopping)
    assert oip.is_server_live()
    assert not oip.is_server_ready()
    assert not oip.is_model_ready("wide")
    for call in (
        lambda: oip.register_system_shared_memory("r", "/octet-no", 64),
        lambda: oip.unregister_system_shared_memory("r"),
        lambda: oip.get_system_shared_memory_status(),
        lambda: oip.get_server_metadata(),
        lambda: oip.get_model_repository_index(),
        lambda: oip.load_model("wide"),
        lambda: oip.infer("wide", X),
    ):
        with fails(StatusCode.UNAVAILABLE, "the server is stopping"):
            call()
    release.set()
    assert server.wait(30) == 0
    held.cancel()


def test_a_model_is_loading_until_it_is_ready(wide):
    server, _, oip = wide
    states = []

    def load():
        with Client(server.address) as other:
            other.load("late", "checkpoints/wide")

    thread = threading.Thread(target=load)
    thread.start()
    while not states or states[-1] != "READY":
        models = oip.get_model_repository_index().models
        state = [m.state for m in models if m.name == "late"]
        if not state:
            continue
        if state[0] == "LOADING":
            # Whoever asks meanwhile is not sent there.
            assert not states or states[-1] == "LOADING"
        if not states or state[0] != states[-1]:
            states.append(state[0])
    thread.join()
    assert states == ["LOADING", "READY"]
    assert oip.is_model_ready("late")
