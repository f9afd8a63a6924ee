"""The package as it is built, and a real server where one is named.

OCTET_SERVER_BINARY is the octet-server to test against; without it, the tests
that need one are skipped and say so.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "client" / "python"


@pytest.fixture(scope="session", autouse=True)
def package(tmp_path_factory):
    """octet_client as `build_py` makes it, without a trace in the tree."""
    built = tmp_path_factory.mktemp("built")
    subprocess.run(
        [
            *(sys.executable, "setup.py", "-q", "egg_info", "-e", built),
            *("build", "--build-base", built, "--build-lib", built / "lib"),
        ],
        cwd=PACKAGE,
        check=True,
    )
    sys.path.insert(0, str(built / "lib"))
    return built / "lib"


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """host:port of a server that lives as long as the tests."""
    binary = os.environ.get("OCTET_SERVER_BINARY")
    if not binary:
        pytest.skip("OCTET_SERVER_BINARY names no octet-server: NOT TESTED")
    directory = tmp_path_factory.mktemp("server")
    log = directory / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [
                *(binary, "--data-dir", directory / "data"),
                *("--grpc-address", "127.0.0.1:0"),
                *("--metrics-address", "127.0.0.1:0"),
                "--allow-capture",
            ],
            stderr=out,
        )
    ready = None
    while ready is None:
        assert process.poll() is None, log.read_text()
        ready = re.search(r"ready grpc=(\S+)", log.read_text())
        time.sleep(0.02)
    yield ready.group(1)
    process.terminate()
    assert process.wait(timeout=60) == 0, log.read_text()


@pytest.fixture
def client(server):
    import octet_client

    with octet_client.Client(server) as client:
        yield client


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array, "<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.fixture(scope="session")
def mlp(tmp_path_factory):
    """A checkpoint directory, and its weights."""
    directory = tmp_path_factory.mktemp("mlp")
    rng = np.random.default_rng(3)
    weights = {
        "fc1.weight": rng.normal(0, 0.3, (64, 48)).astype(np.float32),
        "fc1.bias": rng.normal(0, 0.1, 64).astype(np.float32),
        "fc2.weight": rng.normal(0, 0.3, (16, 64)).astype(np.float32),
        "fc2.bias": rng.normal(0, 0.1, 16).astype(np.float32),
    }
    config = {
        "model_type": "mlp",
        "layers": ["fc1", "fc2"],
        "hidden_act": "relu",
    }
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "README.md").write_text("not uploaded")
    write_safetensors(directory / "model.safetensors", weights)
    return directory, weights
