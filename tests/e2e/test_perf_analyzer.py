"""NVIDIA's perf_analyzer drives the server: sweeps of concurrency and of
request rates, streams, batches, shared memory, a real model and its layers.
That it gets its numbers is the promise; how good they are, no test says.

The program is in .venv-perf (tests/perf_analyzer/make_venv.sh), or in the
folder that OCTET_PERF_ANALYZER_VENV names.
"""

import csv
import json
import os
import subprocess

import pytest

from support import checkpoints
from support.client import Client
from support.paths import ROOT
from support.prometheus_text import Samples
from support.server import Server

pytestmark = pytest.mark.heavy

LAYER = "encoder.layer.0.intermediate.dense"
# [CLS] this is a sentence [SEP], and padding that the mask takes away.
IDS = [101, 2023, 2003, 1037, 6251, 102, 0, 0]
MASK = [1, 1, 1, 1, 1, 1, 0, 0]


@pytest.fixture(scope="module")
def program():
    venv = ROOT / os.environ.get("OCTET_PERF_ANALYZER_VENV", ".venv-perf")
    path = venv / "perf_analyzer"
    if not path.exists():
        raise FileNotFoundError(f"{path}: run tests/perf_analyzer/make_venv.sh")
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory, model_dir):
    server = Server(tmp_path_factory.mktemp("data"), "--allow-shared-memory")
    with Client(server.address) as client:
        files = checkpoints.from_directory(model_dir)
        client.upload_checkpoint("minilm", files)
        client.quantize("minilm", "minilm")
        client.load("minilm", "bundles/minilm")
        client.upload_checkpoint("mlp", checkpoints.mlp())
        client.load("mlp", "checkpoints/mlp")
    yield server
    assert server.stop() == 0


@pytest.fixture
def sweep(program, models, tmp_path):
    """sweep(model, *flags): the table that perf_analyzer writes."""

    def run(model, *flags):
        before = Samples(models.metrics_text())
        table = tmp_path / "table.csv"
        done = subprocess.run(
            [
                program,
                *("-m", model, "-u", models.address, "-i", "grpc"),
                # Whatever is measured in three short windows is stable.
                *("-p", "300", "-r", "3", "-s", "1000"),
                *("-f", str(table)),
                *flags,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout
        after = Samples(models.metrics_text())
        requests = "octet_rpc_requests_total"
        errors = [
            code
            for code in after.labels(requests, "code")
            if code not in ("OK", "CANCELLED")
            and after.get(requests, code=code) > before.get(requests, code=code)
        ]
        assert not errors, done.stdout
        return list(csv.DictReader(table.open()))

    return run


@pytest.fixture(scope="module")
def sentence(tmp_path_factory):
    """Flags for a sentence as MiniLM's tokenizer has it."""
    path = tmp_path_factory.mktemp("input") / "sentence.json"
    tensors = {"input_ids": IDS, "attention_mask": MASK}
    step = {k: {"content": v, "shape": [len(v)]} for k, v in tensors.items()}
    path.write_text(json.dumps({"data": [step]}))
    return ("--input-data", str(path))


def assert_measured(rows, count):
    assert len(rows) == count
    for row in rows:
        assert float(row["Inferences/Second"]) > 0
        assert 0 < float(row["p50 latency"]) <= float(row["p99 latency"])
        # From ModelStatistics: the server's own share of the time.
        assert float(row["Server Compute Infer"]) > 0


def test_concurrency_on_a_real_model(sweep, sentence):
    rows = sweep("minilm", "--concurrency-range=1:3:2", *sentence)
    assert {row["Concurrency"] for row in rows} == {"1", "3"}
    assert_measured(rows, 2)


def test_request_rates_on_a_real_model(sweep, sentence):
    rows = sweep(
        "minilm",
        "--request-rate-range=20:60:40",
        "--request-distribution=poisson",
        *sentence,
    )
    assert {row["Request Rate"] for row in rows} == {"20", "60"}
    assert_measured(rows, 2)


def test_batches_on_a_stream(sweep, sentence):
    flags = ("--streaming", "--async", "-b", "4", "--concurrency-range=4")
    assert_measured(sweep("minilm", *flags, *sentence), 1)


def test_a_layer_of_a_model(sweep):
    # Its random floats are random bytes, NaN among them.
    flags = ("--input-data=zero", "--async", "--concurrency-range=4")
    assert_measured(sweep(f"minilm.{LAYER}", *flags), 1)


def test_shared_memory(sweep):
    rows = sweep(
        "mlp",
        "--input-data=zero",
        "--shared-memory=system",
        "--output-shared-memory-size=4096",
        "--concurrency-range=2",
    )
    assert_measured(rows, 1)
