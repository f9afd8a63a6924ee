"""The reader in docs/bundle-format.md is run as it stands there."""

import re

import numpy as np
import pytest

from support import archives, checkpoints
from support.api import pb
from support.client import feature_inputs
from support.paths import ROOT

WIDTHS = (48, 64, 16)


@pytest.fixture(scope="module")
def reader():
    text = (ROOT / "docs/bundle-format.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)
    namespace = {}
    exec(compile(code, "docs/bundle-format.md", "exec"), namespace)
    return namespace["weights"]


def unpack(client, name, directory):
    for info, data in archives.members(client.download_bundle(name)):
        path = directory / info.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


@pytest.fixture(scope="module")
def calibrated(client):
    client.upload_checkpoint("mlp", checkpoints.mlp(widths=WIDTHS))
    client.create_calibration("mlp", "mlp")
    rows = np.random.default_rng(3).normal(0, 1, (128, WIDTHS[0]))
    rows[:, 5] *= 20  # an outlier column
    client.upload_batches("mlp", [feature_inputs(rows.astype(np.float32))])
    return client


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("dynamic", {"scheme": pb.SCHEME_W8A8_DYNAMIC}),
        ("outliers", {"scheme": pb.SCHEME_LLM_INT8}),
        (
            "rotated",
            {
                "scheme": pb.SCHEME_W8A8_DYNAMIC,
                "methods": pb.QuantizationMethods(
                    hadamard_block=32, group_size=32
                ),
            },
        ),
        ("half", {"scheme": pb.SCHEME_FP16}),
        ("brain", {"scheme": pb.SCHEME_BF16}),
    ],
)
def test_weights_are_the_ones_that_are_served(
    calibrated, reader, tmp_path, name, spec
):
    client = calibrated
    client.quantize("mlp", name, "mlp", **spec)
    client.load(name, f"bundles/{name}")
    read = dict(reader(unpack(client, name, tmp_path)))
    assert set(read) == {"fc1", "fc2"}
    float_tensors = checkpoints.mlp_tensors(widths=WIDTHS)
    for layer, weight in read.items():
        # A row with one 1 in it has exact codes: it reads a column of W.
        k = weight.shape[1]
        bias = client.matmul(name, layer, np.zeros((1, k)))
        served = client.matmul(name, layer, np.eye(k)) - bias
        np.testing.assert_allclose(served.T, weight, rtol=1e-3, atol=1e-5)
        original = float_tensors[f"{layer}.weight"]
        assert np.abs(weight - original).max() < np.abs(original).max() / 100
