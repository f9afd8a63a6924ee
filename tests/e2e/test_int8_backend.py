"""--int8-backend=onednn: the same answers, by oneDNN where it can multiply, and
by Octet's own kernels, with a reason in the log, where it cannot."""

import re

import numpy as np
import pytest

from support import checkpoints
from support.client import Client, feature_inputs
from support.prometheus_text import Samples

ONEDNN = "onednn_brgemm_u8s8"


@pytest.fixture(scope="module")
def answers():
    """What each server answered, by its backend."""
    return {}


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(3).normal(0, 1, (37, 48)).astype(np.float32)


@pytest.mark.parametrize("backend", ["octet", "onednn"])
def test_the_backend_shows_in_metrics_or_in_the_log(
    start_server, rows, answers, backend
):
    server = start_server(None, f"--int8-backend={backend}")
    with Client(server.address) as client:
        client.upload_checkpoint("mlp", checkpoints.mlp())
        client.create_calibration("mlp", "mlp")
        client.upload_batches("mlp", [feature_inputs(rows)])
        operation = client.quantize("mlp", "mlp-int8", "mlp")
        assert operation.bundle == "bundles/mlp-int8", operation
        client.load("mlp-int8", "bundles/mlp-int8")
        answers[backend] = client.matmul("mlp-int8", "fc1", rows)
        kernels = Samples(server.metrics_text()).labels(
            "octet_kernel_info", "kernel"
        )
    refusal = re.search(
        r"warning bundles/mlp-int8: --int8-backend=onednn has no effect on "
        r"\d+ products.*AVX512-VNNI",
        server.log_text(),
    )
    if backend == "octet":
        assert all(kernel.startswith("dot_") for kernel in kernels), kernels
        assert not refusal
    else:
        # Whichever this CPU is for.
        assert (kernels == {ONEDNN}) != bool(refusal), (kernels, refusal)
        np.testing.assert_array_equal(answers["onednn"], answers["octet"])


def test_another_backend_is_refused(tmp_path, start_server):
    with pytest.raises(RuntimeError, match=r"int8-backend.*\{octet,onednn\}"):
        start_server(tmp_path, "--int8-backend=cuda")
