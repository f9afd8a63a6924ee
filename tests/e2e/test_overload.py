"""More than the server can do: a full queue is answered at once, and work that
nobody waits for any more is not done."""

import concurrent.futures
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support import checkpoints
from support.api import error_details, pb, rpc_status
from support.client import Client, feature_inputs
from support.prometheus_text import Samples

WIDTH = 1024
CALLS = 24


@pytest.fixture
def narrow_server(start_server):
    """One thread, two waiting places, a model that takes its time."""
    server = start_server(None, "--threads=1", "--queue-capacity=2")
    with Client(server.address) as client:
        client.upload_checkpoint(
            "wide", checkpoints.mlp(widths=(WIDTH, 6 * WIDTH, WIDTH))
        )
        client.load("wide", "checkpoints/wide")
    return server


@pytest.fixture
def slow_input():
    return feature_inputs(np.ones((1000, WIDTH), np.float32))


def retry_delay(error):
    for key, value in error.trailing_metadata():
        if key != "grpc-status-details-bin":
            continue
        for detail in rpc_status.Status.FromString(value).details:
            retry = error_details.RetryInfo()
            if detail.Unpack(retry):
                return retry.retry_delay.ToTimedelta().total_seconds()
    return None


def test_full_queue_is_said_at_once(narrow_server, slow_input):
    with Client(narrow_server.address) as client:

        def call(_):
            try:
                return client.forward("wide", slow_input)
            except grpc.RpcError as error:
                return error

        with concurrent.futures.ThreadPoolExecutor(CALLS) as pool:
            answers = list(pool.map(call, range(CALLS)))
        refused = [a for a in answers if isinstance(a, grpc.RpcError)]
        assert refused
        assert len(refused) < CALLS
        for error in refused:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert retry_delay(error) > 0
        samples = Samples(narrow_server.metrics_text())
        assert samples.get("octet_work_rejected_total") == len(refused)
        requests = "octet_rpc_requests_total"
        assert samples.get(requests, code="RESOURCE_EXHAUSTED") == len(refused)
        # Overloaded is not unhealthy.
        status = health_pb2_grpc.HealthStub(client.channel).Check(
            health_pb2.HealthCheckRequest(), timeout=10
        )
        assert status.status == health_pb2.HealthCheckResponse.SERVING


def dropped(server):
    return Samples(server.metrics_text()).get("octet_work_dropped_total")


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_work_whose_deadline_passed_is_not_done(narrow_server, slow_input):
    with Client(narrow_server.address) as client:
        first = client.inference.Forward.future(
            pb.ForwardRequest(model="models/wide", inputs=slow_input),
            timeout=60,
        )
        hurried = [
            client.inference.Forward.future(
                pb.ForwardRequest(model="models/wide", inputs=slow_input),
                timeout=0.002,
            )
            for _ in range(2)
        ]
        for call in hurried:
            assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        first.result()
        # Only what was waited for counts as answered.
        time.sleep(0.1)
        stats = client.models.GetModelStats(
            pb.GetModelStatsRequest(name="models/wide"), timeout=60
        )
        assert stats.forward_count == 1


def test_cancelled_work_is_not_done(narrow_server, slow_input):
    with Client(narrow_server.address) as client:
        request = pb.ForwardRequest(model="models/wide", inputs=slow_input)
        busy = client.inference.Forward.future(request, timeout=60)
        wait_until(
            lambda: (
                Samples(narrow_server.metrics_text()).get("octet_rpc_in_flight")
                >= 1
            )
        )
        waiting = client.inference.Forward.future(request, timeout=60)
        wait_until(
            lambda: (
                Samples(narrow_server.metrics_text()).get("octet_rpc_in_flight")
                >= 2
                or busy.done()
            )
        )
        if busy.done():
            pytest.skip("the first call was done before the second one came")
        waiting.cancel()
        busy.result()
        wait_until(lambda: dropped(narrow_server) >= 1)
        stats = client.models.GetModelStats(
            pb.GetModelStatsRequest(name="models/wide"), timeout=60
        )
        assert stats.forward_count == 1
