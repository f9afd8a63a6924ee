"""Load of every kind of inference, and what became of each request.

A server that stops says "the server is stopping" to whom it does not admit.
Whatever was sent after the first such answer was not admitted either; what was
sent before it must be answered, or be refused in the same words."""

import collections
import contextlib
import dataclasses
import queue
import threading
import time

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from support.api import pb
from support.client import Client, array, feature_inputs
from support.client import tensor as octet_tensor
from support.oip import tensor

OK = "ok"
REFUSED = "refused"  # not admitted, and told so
ABSENT = "absent"  # never sent: nobody listens any more
WINDOW = 4  # requests in flight on a stream


@dataclasses.dataclass(frozen=True)
class Entry:
    kind: str
    sent: float
    ended: float
    outcome: str  # one of the above, or what was said


def outcome_of(error: grpc.RpcError) -> str:
    said = f"{error.code().name}: {error.details()}"
    if error.code() == grpc.StatusCode.UNAVAILABLE:
        if "the server is stopping" in said:
            return REFUSED
        if "failed to connect" in said.lower():
            return ABSENT
    return said


class Load:
    """Clients of the model "wide" until `end()`."""

    def __init__(self, address, width, clients=4):
        rng = np.random.default_rng(3)
        self.x = rng.normal(0, 1, (64, width)).astype(np.float32)
        self.address = address
        self.entries = []
        self.wrong = []
        self.over = threading.Event()
        with Client(address) as client:
            self.y = client.forward("wide", feature_inputs(self.x))
            self.fc1 = client.matmul("wide", "fc1", self.x)
        kinds = {
            "Forward": self._forward,
            "ModelInfer": self._infer,
            "StreamMatMul": self._stream_matmul,
            "ModelStreamInfer": self._stream_infer,
        }
        self.kinds = list(kinds)
        self.threads = [
            threading.Thread(target=self._run, args=(kind, work))
            for kind, work in kinds.items()
            for _ in range(clients)
        ]
        for thread in self.threads:
            thread.start()

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def answered(self, kind) -> int:
        return sum(e.kind == kind and e.outcome == OK for e in self.entries)

    def lost(self) -> list[Entry]:
        """Admitted, as far as anybody can know, and not answered."""
        refused = [e.ended for e in self.entries if e.outcome == REFUSED]
        first = min(refused, default=float("inf"))
        return [
            e
            for e in self.entries
            if e.outcome not in (OK, REFUSED, ABSENT) and e.sent < first
        ]

    def _run(self, kind, work):
        # grpcio tries calls again that a server never saw, and once in a while
        # never ends one that it was about to: not even at its deadline.
        once = [("grpc.enable_retries", 0)]
        with Client(self.address, channel_options=once) as client:
            while not self.over.is_set():
                work(kind, client)

    def _add(self, kind, sent, outcome):
        self.entries.append(Entry(kind, sent, time.monotonic(), outcome))

    def _check(self, kind, values, expected):
        if not np.array_equal(values, expected):
            self.wrong.append(kind)

    # Unary calls

    def _call(self, kind, call):
        sent = time.monotonic()
        try:
            call()
            self._add(kind, sent, OK)
        except grpc.RpcError as error:
            self._add(kind, sent, outcome_of(error))
            time.sleep(0.001)

    def _forward(self, kind, client):
        inputs = feature_inputs(self.x)
        self._call(
            kind,
            lambda: self._check(kind, client.forward("wide", inputs), self.y),
        )

    def _infer_request(self):
        x = tensor("x", self.x)
        return service_pb2.ModelInferRequest(
            model_name="wide",
            inputs=[x._get_tensor()],
            raw_input_contents=[x._get_content()],
        )

    def _infer_values(self, response):
        values = np.frombuffer(response.raw_output_contents[0], np.float32)
        return values.reshape(self.y.shape)

    def _infer(self, kind, client):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(client.channel)
        request = self._infer_request()
        self._call(
            kind,
            lambda: self._check(
                kind,
                self._infer_values(stub.ModelInfer(request, timeout=120)),
                self.y,
            ),
        )

    # Streams

    def _stream(self, kind, method, request, check):
        outgoing = queue.Queue()
        sent = collections.deque()

        def send():
            sent.append(time.monotonic())
            outgoing.put(request)

        call = method(iter(outgoing.get, None), timeout=120)
        for _ in range(WINDOW):
            send()
        try:
            for answer in call:
                said = check(answer)
                self._add(kind, sent.popleft(), said)
                if self.over.is_set():
                    call.cancel()
                    return
                send()
        except grpc.RpcError as error:
            for each in sent:
                self._add(kind, each, outcome_of(error))
            time.sleep(0.001)
        finally:
            outgoing.put(None)

    def _stream_matmul(self, kind, client):
        request = pb.StreamMatMulRequest(
            request=pb.MatMulRequest(
                model="models/wide", layer="fc1", x=octet_tensor(self.x)
            )
        )

        def check(answer):
            if answer.HasField("status"):
                return answer.status.message
            self._check(kind, array(answer.response.y), self.fc1)
            return OK

        self._stream(kind, client.inference.StreamMatMul, request, check)

    def _stream_infer(self, kind, client):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(client.channel)

        def check(answer):
            if answer.error_message:
                return answer.error_message
            values = self._infer_values(answer.infer_response)
            self._check(kind, values, self.y)
            return OK

        self._stream(kind, stub.ModelStreamInfer, self._infer_request(), check)


@contextlib.contextmanager
def load(address, width):
    """Ends whatever happens, so that no thread outlives its test."""
    running = Load(address, width)
    try:
        yield running
    finally:
        running.end()
