"""Mixed load on one server for a while: every way of asking at once, swaps,
quantizations, calls given up and clients that vanish.

    soak = Soak(server, seconds)
    soak.run()
    soak.errors, soak.done

The model "bert" is one of two versions, which are swapped all the time; an
answer has to be one of theirs, whole, byte for byte.
"""

import contextlib
import os
import queue
import random
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import shared_memory as shm

from support import broken_streams, checkpoints, oip
from support.api import pb, stubs
from support.client import Client, tensor, token_inputs
from support.shared_memory import in_region, memory, to_region

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCES = ("bundles/bert", "checkpoints/bert")  # swapped under load
LAYER = "encoder.layer.0.intermediate.dense"
WIDTH = checkpoints.BERT["hidden_size"]
CASES = 24
MOST_ERRORS = 5
PRIORITIES = [
    pb.PRIORITY_UNSPECIFIED,
    pb.PRIORITY_HIGH,
    pb.PRIORITY_NORMAL,
    pb.PRIORITY_LOW,
]
# Code of a client that is killed while it waits for answers.
VANISHING = """
import sys
sys.path.insert(0, sys.argv[1])
from support.api import pb
from support.client import Client, token_inputs
inputs = token_inputs([list(range(1, 20))] * 8)
with Client(sys.argv[2]) as client:
    print("ready", flush=True)
    while True:
        request = pb.ForwardRequest(model="models/bert", inputs=inputs)
        calls = [client.inference.Forward.future(request) for _ in range(8)]
        calls[0].result()
"""


class Case:
    """Something to ask, and what each version answers."""

    def __init__(self, rng):
        lengths = rng.integers(
            1, checkpoints.BERT["max_position_embeddings"], 6
        )
        self.sequences = [
            rng.integers(0, checkpoints.BERT["vocab_size"], n).tolist()
            for n in lengths
        ]
        self.x = rng.normal(0, 1, (5, WIDTH)).astype(np.float32)
        self.embeddings, self.products = [], []

    def learn(self, client):
        """From the version that is served."""
        self.embeddings.append(client.embed("bert", self.sequences))
        self.products.append(client.matmul("bert", LAYER, self.x))

    def check_embeddings(self, answer):
        self._check(answer, self.embeddings)

    def check_products(self, answer):
        self._check(answer, self.products)

    @staticmethod
    def _check(answer, expected):
        if not any(np.array_equal(answer, right) for right in expected):
            raise AssertionError("no version answers so")


class Soak:
    """Clients in threads; whatever goes wrong is kept for the end."""

    def __init__(self, server, seconds):
        self.server, self.seconds = server, seconds
        self.errors, self.done = [], {}
        rng = np.random.default_rng(3)
        self.cases = [Case(rng) for _ in range(CASES)]
        with Client(server.address) as client:
            client.upload_checkpoint("bert", checkpoints.bert())
            client.quantize("bert", "bert", scheme=pb.SCHEME_W8A8_DYNAMIC)
            for source in SOURCES:
                client.load("bert", source)
                for case in self.cases:
                    case.learn(client)

    def run(self):
        self.end = time.monotonic() + self.seconds
        threads = [
            threading.Thread(target=self._repeat, args=(job, seed))
            for seed, job in enumerate(self.jobs())
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def jobs(self):
        """What runs at once; `done` counts them by name."""
        return [
            self.forward,
            self.forward,
            self.product,
            self.stream_of_products,
            self.infer,
            self.stream_of_inferences,
            self.infer_in_shared_memory,
            self.impatient,
            self.vanishing,
            self.broken_streams,
            self.swaps,
            self.quantizations,
            self.scrapes,
        ]

    def _repeat(self, job, seed):
        rng = random.Random(seed)
        with Client(self.server.address) as client:
            while (
                time.monotonic() < self.end and len(self.errors) < MOST_ERRORS
            ):
                try:
                    job(client, rng)
                except Exception as error:
                    self.errors.append((job.__name__, error))
                self.done[job.__name__] = self.done.get(job.__name__, 0) + 1

    # octet.v1

    def forward(self, client, rng):
        case = rng.choice(self.cases)
        priority = rng.choice(PRIORITIES)
        case.check_embeddings(
            client.embed("bert", case.sequences, priority=priority)
        )

    def product(self, client, rng):
        case = rng.choice(self.cases)
        case.check_products(
            client.matmul(
                "bert", LAYER, case.x, priority=rng.choice(PRIORITIES)
            )
        )

    def stream_of_products(self, client, rng):
        asked = [rng.choice(self.cases) for _ in range(40)]
        requests = [
            pb.StreamMatMulRequest(
                request=pb.MatMulRequest(
                    model="models/bert", layer=LAYER, x=tensor(case.x)
                )
            )
            for case in asked
        ]
        answers = client.inference.StreamMatMul(iter(requests), timeout=120)
        for case, answer in zip(asked, answers, strict=True):
            y = answer.response.y
            case.check_products(
                np.frombuffer(y.data, np.float32).reshape(y.shape)
            )

    def impatient(self, client, rng):
        call = client.inference.Forward.future(
            pb.ForwardRequest(
                model="models/bert",
                inputs=token_inputs(rng.choice(self.cases).sequences),
            )
        )
        time.sleep(rng.random() * 0.005)
        call.cancel()
        with contextlib.suppress(grpc.FutureCancelledError):
            call.result()

    # The Open Inference Protocol

    def infer(self, _, rng):
        with triton.InferenceServerClient(self.server.address) as client:
            for case in rng.choices(self.cases, k=20):
                answer = client.infer(
                    "bert",
                    oip.tokens(case.sequences),
                    outputs=oip.wanted("sentence_embedding"),
                    priority=rng.randrange(4),
                )
                case.check_embeddings(answer.as_numpy("sentence_embedding"))

    def stream_of_inferences(self, _, rng):
        answers = queue.Queue()
        asked = rng.choices(self.cases, k=20)
        with triton.InferenceServerClient(self.server.address) as client:
            client.start_stream(
                lambda result, error: answers.put((result, error))
            )
            for case in asked:
                client.async_stream_infer(
                    "bert",
                    oip.tokens(case.sequences),
                    outputs=oip.wanted("sentence_embedding"),
                )
            for case in asked:
                answer, error = answers.get(timeout=120)
                if error is not None:
                    raise error
                case.check_embeddings(answer.as_numpy("sentence_embedding"))
            client.stop_stream()

    def infer_in_shared_memory(self, _, rng):
        case = rng.choice(self.cases)
        y = case.products[0]
        with (
            triton.InferenceServerClient(self.server.address) as client,
            memory(case.x.nbytes + y.nbytes) as (key, handle),
        ):
            region = key.removeprefix("/")
            client.register_system_shared_memory(
                region, key, case.x.nbytes + y.nbytes
            )
            shm.set_shared_memory_region(handle, [case.x])
            client.infer(
                f"bert.{LAYER}",
                [in_region("x", case.x.shape, "FP32", region, case.x.nbytes)],
                outputs=[to_region("y", region, y.nbytes, case.x.nbytes)],
            )
            case.check_products(
                shm.get_contents_as_numpy(
                    handle, np.float32, y.shape, case.x.nbytes
                )
            )
            client.unregister_system_shared_memory(region)

    # What happens besides

    def vanishing(self, _, rng):
        process = subprocess.Popen(
            [sys.executable, "-c", VANISHING, HERE, self.server.address],
            stdout=subprocess.PIPE,
            env={**os.environ, "OCTET_STUBS": stubs},
        )
        try:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(rng.random())
            assert process.poll() is None, "it ended by itself"
        finally:
            process.kill()
            process.communicate()

    def broken_streams(self, client, rng):
        x = rng.choice(self.cases).x
        goods = (
            broken_streams.matmul("bert", LAYER, x),
            oip.infer_request(f"bert.{LAYER}", x=x).SerializeToString(),
        )
        for method, good in zip(broken_streams.METHODS, goods, strict=True):
            code = broken_streams.break_off(client, method, good, rng)
            if code != grpc.StatusCode.INVALID_ARGUMENT:
                raise AssertionError(code)

    def swaps(self, client, rng):
        client.load("bert", rng.choice(SOURCES))
        time.sleep(1)

    def quantizations(self, client, rng):
        scheme = rng.choice([pb.SCHEME_W8A8_DYNAMIC, pb.SCHEME_BF16])
        operation = client.quantize("bert", "passing", scheme=scheme)
        if not operation.bundle:
            raise AssertionError(operation)
        client.delete_bundle("passing")
        time.sleep(0.2)

    def scrapes(self, _, __):
        self.server.metrics_text()
        time.sleep(0.5)
