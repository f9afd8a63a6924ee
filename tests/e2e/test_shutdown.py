"""SIGTERM: NOT_SERVING, what was admitted is finished, exit 0."""

import concurrent.futures
import signal
import threading
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support import checkpoints
from support.client import Client, feature_inputs

STATUS = health_pb2.HealthCheckResponse.ServingStatus
WIDTH = 1024


@pytest.fixture
def busy_server(start_server):
    """Serves an mlp that takes a while."""
    server = start_server(None, "--drain-seconds=20")
    with Client(server.address) as client:
        client.upload_checkpoint(
            "wide", checkpoints.mlp(widths=(WIDTH, WIDTH, WIDTH))
        )
        client.load("wide", "checkpoints/wide")
    return server


def health(client):
    return (
        health_pb2_grpc.HealthStub(client.channel)
        .Check(health_pb2.HealthCheckRequest(), timeout=10)
        .status
    )


def test_health_says_serving(busy_server):
    with Client(busy_server.address) as client:
        assert health(client) == STATUS.SERVING


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_idle_server_stops_at_once_with_exit_code_0(start_server, how):
    server = start_server()
    server.process.send_signal(how)
    assert server.wait(10) == 0


def test_watchers_hear_not_serving(busy_server):
    with Client(busy_server.address) as client:
        watch = health_pb2_grpc.HealthStub(client.channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=60
        )
        assert next(watch).status == STATUS.SERVING
        busy_server.terminate()
        assert next(watch).status == STATUS.NOT_SERVING
    assert busy_server.wait() == 0


def test_what_was_admitted_is_finished(busy_server):
    x = np.random.default_rng(1).normal(0, 1, (512, WIDTH)).astype(np.float32)
    with Client(busy_server.address) as client:
        expected = client.forward("wide", feature_inputs(x))
        before = client.models.GetModelStats(
            _stats_request("wide"), timeout=60
        ).forward_count
        started = threading.Event()

        def call(_):
            started.set()
            try:
                return client.forward("wide", feature_inputs(x))
            except grpc.RpcError as error:
                return error.code()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(call, i) for i in range(8)]
            started.wait()
            # Something is in the house: its effect can be seen.
            with Client(busy_server.address) as other:
                while (
                    other.models.GetModelStats(
                        _stats_request("wide"), timeout=60
                    ).forward_count
                    == before
                ):
                    time.sleep(0.001)
            busy_server.terminate()
            answers = [future.result() for future in futures]
    finished = [a for a in answers if isinstance(a, np.ndarray)]
    refused = [a for a in answers if not isinstance(a, np.ndarray)]
    assert finished
    for answer in finished:
        np.testing.assert_array_equal(answer, expected)
    # Who came too late is told to go elsewhere, and nothing else.
    assert set(refused) <= {grpc.StatusCode.UNAVAILABLE}
    assert busy_server.wait() == 0


def test_shutdown_during_quantization_and_upload(start_server, model_dir):
    server = start_server(None, "--drain-seconds=5")
    with Client(server.address) as client:
        client.upload_checkpoint(
            "minilm", checkpoints.from_directory(model_dir)
        )
        client.start_quantization("minilm", "bundle")
        server.terminate()
        assert server.wait(30) == 0


def _stats_request(model):
    from support.api import pb

    return pb.GetModelStatsRequest(name=f"models/{model}")
