"""The readers in docs/bundle-format.md are run as they stand there."""

import numpy as np
import pytest

from support import bundle_reader, checkpoints
from support.api import pb
from support.client import feature_inputs

WIDTHS = (48, 64, 16)


def plan(scheme, **methods):
    return {
        "scheme": getattr(pb, f"SCHEME_{scheme}"),
        "methods": pb.QuantizationMethods(**methods),
    }


GPTQ = {"rounding": pb.ROUNDING_GPTQ, "bias_correction": True}
SMOOTHED = {"smoothing": pb.SMOOTHING_ALPHA, "smoothing_alpha": 0.5}
# What the twenty lines know.
SIMPLE = {
    "dynamic": plan("W8A8_DYNAMIC"),
    "static": plan("W8A8_STATIC"),
    "half": plan("FP16"),
    "gptq": plan("W8A8_DYNAMIC", **GPTQ),
    "static-gptq": plan("W8A8_STATIC", **GPTQ),
    "smoothed": plan("W8A8_DYNAMIC", **SMOOTHED),
    "static-smoothed": plan("W8A8_STATIC", **SMOOTHED),
}
ALL = SIMPLE | {
    "outliers": plan("LLM_INT8"),
    "rotated": plan("W8A8_DYNAMIC", hadamard_block=32, group_size=32),
    "brain": plan("BF16"),
}


@pytest.fixture(scope="module")
def rows():
    rows = np.random.default_rng(3).normal(0, 1, (256, WIDTHS[0]))
    rows[:, 5] *= 20  # an outlier column
    return rows.astype(np.float32)


@pytest.fixture(scope="module")
def bundles(client, rows, tmp_path_factory):
    """Every plan, served; the folders of the bundles by name."""
    client.upload_checkpoint("mlp", checkpoints.mlp(widths=WIDTHS))
    client.create_calibration("mlp", "mlp")
    client.upload_batches("mlp", [feature_inputs(rows)])
    folders = {}
    for name, spec in ALL.items():
        operation = client.quantize("mlp", name, "mlp", **spec)
        assert operation.bundle == f"bundles/{name}", operation
        client.load(name, operation.bundle)
        folder = tmp_path_factory.mktemp(name)
        folders[name] = client.unpack_bundle(name, folder)
    return folders


def test_the_short_reader_has_twenty_lines():
    lines = bundle_reader.BLOCKS[0].splitlines()
    assert len([line for line in lines if line.strip()]) <= 20


@pytest.mark.parametrize("name", SIMPLE)
def test_twenty_lines_compute_what_is_served(client, bundles, rows, name):
    file = bundles[name] / "model.safetensors"
    tensors = dict(bundle_reader.read(file))
    x = rows[:, : WIDTHS[0]]
    for layer in ("fc1", "fc2"):
        y = bundle_reader.linear(tensors, layer, x)
        served = client.matmul(name, layer, x)
        assert y.dtype == served.dtype == np.float32
        # Right between two codes a value may go either way.
        same = np.isclose(y, served, rtol=1e-5, atol=1e-4).all(axis=1)
        assert same.mean() > 0.98, (layer, same.mean())
        # Activations are quantized here, too: with floats it is another y.
        if f"{layer}.weight_scale" in tensors:
            exact = dict(bundle_reader.weights(bundles[name]))[layer]
            without = x @ exact.T + tensors[f"{layer}.bias"]
            assert not np.isclose(without, served, atol=1e-4).all(axis=1).any()
        x = np.maximum(served, 0)
    whole = client.forward(name, feature_inputs(rows))
    np.testing.assert_allclose(served, whole, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_weights_are_the_ones_that_are_served(client, bundles, name):
    read = dict(bundle_reader.weights(bundles[name]))
    assert set(read) == {"fc1", "fc2"}
    tensors = bundle_reader.tensors(bundles[name])
    for layer, weight in read.items():
        # A row with one value in it that has an exact code reads a column of W.
        k = weight.shape[1]
        value = 50 * tensors.get(f"{layer}.input_scale", 1) * np.ones(k)
        value /= tensors.get(f"{layer}.inverse_smoothing", 1)
        bias = client.matmul(name, layer, np.zeros((1, k)))
        served = client.matmul(name, layer, np.diag(value)) - bias
        served /= value[:, np.newaxis]
        np.testing.assert_allclose(served.T, weight, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in ALL if "smoothed" not in n])
def test_weights_are_near_the_checkpoints(bundles, name):
    exact = checkpoints.mlp_tensors(widths=WIDTHS)
    for layer, weight in bundle_reader.weights(bundles[name]):
        original = exact[f"{layer}.weight"]
        bound = np.abs(original).max() / (50 if "gptq" in name else 100)
        assert np.abs(weight - original).max() < bound
