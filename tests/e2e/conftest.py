"""Fixtures of the end-to-end tests."""

import pathlib
import tempfile

import numpy as np
import pytest

from support import checkpoints, texts
from support.client import Client, feature_inputs, token_inputs
from support.paths import minilm as minilm_dir
from support.reference import BertReference
from support.server import Server


@pytest.fixture
def start_server():
    """start_server(data_dir=None, *flags, **options of Server); whatever it
    started is stopped."""
    servers = []
    directories = []

    def start(
        data_dir: pathlib.Path | None = None, *flags: str, **options
    ) -> Server:
        if data_dir is None:
            directory = tempfile.TemporaryDirectory(prefix="octet-data-")
            directories.append(directory)
            data_dir = pathlib.Path(directory.name)
        server = Server(data_dir, *flags, **options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.kill()
    for directory in directories:
        directory.cleanup()


@pytest.fixture(scope="module")
def server(request):
    """One server for all tests of a module, with its SERVER_FLAGS."""
    flags = getattr(request.module, "SERVER_FLAGS", ())
    with tempfile.TemporaryDirectory(prefix="octet-data-") as directory:
        server = Server(pathlib.Path(directory), *flags)
        yield server
        server.kill()


@pytest.fixture(scope="module")
def client(server):
    with Client(server.address) as client:
        yield client


@pytest.fixture(scope="session")
def model_dir() -> pathlib.Path:
    return minilm_dir()


@pytest.fixture(scope="session")
def held_out(model_dir):
    """Token ids of texts that calibration never sees."""
    return texts.tokenize(model_dir, texts.held_out_texts())


@pytest.fixture(scope="session")
def minilm(model_dir):
    """A client of a server for all tests that want a real model, calibrated:
    "minilm", served as "fp32", with 512 texts in "fortunes"."""
    with tempfile.TemporaryDirectory(prefix="octet-data-") as directory:
        server = Server(pathlib.Path(directory))
        with Client(server.address, timeout=600) as client:
            client.upload_checkpoint(
                "minilm", checkpoints.from_directory(model_dir)
            )
            client.create_calibration("fortunes", "minilm")
            client.upload_texts(
                "fortunes",
                texts.tokenize(model_dir, texts.calibration_texts(512)),
            )
            client.load("fp32", "checkpoints/minilm")
            yield client
        server.kill()


@pytest.fixture(scope="session")
def reference(model_dir) -> BertReference:
    return BertReference(model_dir)


@pytest.fixture(scope="module")
def prepared(client):
    """Small models, served: "mlp" and "bert" in FP32, "mlp-int8" and
    "bert-int8" quantized with the calibrations "mlp" and "bert"."""
    rng = np.random.default_rng(7)
    rows = rng.normal(0, 1, (128, 48)).astype(np.float32)
    sequences = [
        rng.integers(0, checkpoints.BERT["vocab_size"], n).tolist()
        for n in rng.integers(1, 20, 128)
    ]
    for name, files, batch in (
        ("mlp", checkpoints.mlp(), feature_inputs(rows)),
        ("bert", checkpoints.bert(), token_inputs(sequences)),
    ):
        client.upload_checkpoint(name, files)
        client.create_calibration(name, name)
        client.upload_batches(name, [batch])
        operation = client.quantize(name, f"{name}-int8", name)
        assert operation.bundle == f"bundles/{name}-int8", operation
        client.load(name, f"checkpoints/{name}")
        client.load(f"{name}-int8", f"bundles/{name}-int8")
    return client


@pytest.fixture(scope="module")
def still_serves(prepared):
    """still_serves(): the server gives the answers it always gave."""

    def ask():
        return prepared.embed("bert-int8", [[5, 6, 7], [8]])

    answer = ask()
    return lambda: np.testing.assert_array_equal(ask(), answer)
