"""More than the server can do: a full queue is answered at once, and work that
nobody waits for any more is not done."""

import concurrent.futures
import threading
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from support import checkpoints, wait
from support.api import error_details, pb, rpc_status
from support.client import Client, feature_inputs, tensor
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


class Health(threading.Thread):
    """Asks again and again until it is told to stop."""

    def __init__(self, address):
        super().__init__()
        self.address = address
        self.answers = []
        self.over = threading.Event()
        self.start()

    def run(self):
        request = health_pb2.HealthCheckRequest()
        with grpc.insecure_channel(
            self.address, [("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            oip = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            while not self.over.is_set():
                try:
                    status = health.Check(request, timeout=10).status
                    ready = oip.ServerReady(
                        service_pb2.ServerReadyRequest(), timeout=10
                    ).ready
                    self.answers.append((status, ready))
                except grpc.RpcError as error:
                    self.answers.append(error.code())
                time.sleep(0.005)

    def end(self):
        self.over.set()
        self.join()


@pytest.mark.parametrize("what", ["overload", "large tensors"])
def test_health_is_serving_while_the_load_lasts(narrow_server, what):
    """Asked during it, from a connection of its own: a full queue, or 48 MiB
    tensors that are received and decoded one after the other."""
    rows = 1000 if what == "overload" else 48 << 8
    request = pb.MatMulRequest(
        model="models/wide",
        # fc2 has another width: what is decoded for it is refused.
        layer="fc1" if what == "overload" else "fc2",
        x=tensor(np.ones((rows, WIDTH), np.float32)),
    )
    count = 3 * CALLS if what == "overload" else CALLS
    health = Health(narrow_server.address)
    asked_during = []
    try:
        with Client(narrow_server.address) as client:

            def call(_):
                try:
                    client.inference.MatMul(request, timeout=120)
                    code = grpc.StatusCode.OK
                except grpc.RpcError as error:
                    code = error.code()
                asked_during.append(len(health.answers))
                return code

            threads = 12 if what == "overload" else 3
            with concurrent.futures.ThreadPoolExecutor(threads) as pool:
                codes = set(pool.map(call, range(count)))
    finally:
        health.end()
    if what == "overload":
        assert codes == {
            grpc.StatusCode.OK,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        }
    else:
        assert grpc.StatusCode.INVALID_ARGUMENT in codes, codes
    serving = (health_pb2.HealthCheckResponse.SERVING, True)
    assert set(health.answers) == {serving}
    # It was asked while the load went on, not before or after.
    assert max(asked_during) - min(asked_during) > 5


def dropped(server):
    return Samples(server.metrics_text()).get("octet_work_dropped_total")


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
        wait.until(
            lambda: (
                Samples(narrow_server.metrics_text()).get("octet_rpc_in_flight")
                >= 1
            )
        )
        waiting = client.inference.Forward.future(request, timeout=60)
        wait.until(
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
        wait.until(lambda: dropped(narrow_server) >= 1)
        stats = client.models.GetModelStats(
            pb.GetModelStatsRequest(name="models/wide"), timeout=60
        )
        assert stats.forward_count == 1
