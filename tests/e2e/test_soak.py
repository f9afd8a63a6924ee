"""Mixed load, with swaps every second, calls given up and clients that vanish:
no answer but the right one, no error but the asked-for ones, no leak.

A few seconds here; `tests/run.sh soak` runs it for ten minutes on a server
built with AddressSanitizer, whose reports are the server's log.
"""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest

from support import checkpoints
from support.api import pb
from support.client import Client, token_inputs

SECONDS = float(os.environ.get("OCTET_SOAK_SECONDS", "8"))
HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = ("bundles/bert", "checkpoints/bert")  # swapped under load
BATCHES = 24
STEADY_CLIENTS = 4
MAX_GROWTH_BYTES = 96 << 20
SANITIZED = "san" in os.environ.get("OCTET_BUILD_DIR", "")
REPORTS = re.compile(r"Sanitizer|runtime error:")
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


class Soak:
    """Clients in threads; whatever goes wrong is kept for the end."""

    def __init__(self, server, batches, expected):
        self.server, self.batches, self.expected = server, batches, expected
        self.end = time.monotonic() + SECONDS
        self.errors = []
        self.done = {}

    def run(self):
        jobs = [self.steady] * STEADY_CLIENTS
        jobs += [self.impatient, self.vanishing, self.swaps, self.scrapes]
        threads = [
            threading.Thread(target=self.repeat, args=(job, seed))
            for seed, job in enumerate(jobs)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def repeat(self, job, seed):
        rng = random.Random(seed)
        with Client(self.server.address) as client:
            while time.monotonic() < self.end and len(self.errors) < 5:
                try:
                    job(client, rng)
                except Exception as error:
                    self.errors.append((job.__name__, error))
                self.done[job.__name__] = self.done.get(job.__name__, 0) + 1

    def steady(self, client, rng):
        index = rng.randrange(BATCHES)
        self.check(index, client.forward("bert", self.batches[index]))

    def check(self, index, answer):
        """Of one version, whole: never rows of both."""
        if not any(np.array_equal(answer, e[index]) for e in self.expected):
            raise AssertionError(f"batch {index}: no version answers so")

    def impatient(self, client, rng):
        call = client.inference.Forward.future(
            pb.ForwardRequest(model="models/bert", inputs=self.batches[0])
        )
        time.sleep(rng.random() * 0.005)
        call.cancel()
        with contextlib.suppress(grpc.FutureCancelledError):
            call.result()

    def vanishing(self, _, rng):
        process = subprocess.Popen(
            [sys.executable, "-c", VANISHING, HERE, self.server.address],
            stdout=subprocess.PIPE,
        )
        process.stdout.readline()
        time.sleep(rng.random())
        process.send_signal(signal.SIGKILL)
        process.wait()

    def swaps(self, client, rng):
        client.load("bert", rng.choice(SOURCES))
        time.sleep(1)

    def scrapes(self, _, __):
        self.server.metrics_text()
        time.sleep(0.5)


@pytest.mark.timeout(SECONDS + 600)
def test_mixed_load_gives_right_answers_and_loses_nothing(start_server):
    server = start_server()
    rng = np.random.default_rng(3)
    vocabulary = checkpoints.BERT["vocab_size"]
    batches = [
        token_inputs([rng.integers(0, vocabulary, n).tolist() for n in lengths])
        for lengths in rng.integers(
            1, checkpoints.BERT["max_position_embeddings"], (BATCHES, 6)
        )
    ]
    with Client(server.address) as client:
        client.upload_checkpoint("bert", checkpoints.bert())
        client.quantize("bert", "bert", scheme=pb.SCHEME_W8A8_DYNAMIC)
        expected = []
        for source in SOURCES:
            client.load("bert", source)
            expected.append([client.forward("bert", b) for b in batches])
    before = server.resident_bytes()
    soak = Soak(server, batches, expected)
    soak.run()
    growth = server.resident_bytes() - before
    print(f"{SECONDS:.0f} s: {soak.done}; grew by {growth >> 20} MiB")
    assert not soak.errors
    assert server.stop() == 0
    log = server.log_text()
    assert not REPORTS.search(log), log
    if not SANITIZED:  # what is freed stays in quarantine there
        assert growth < MAX_GROWTH_BYTES
