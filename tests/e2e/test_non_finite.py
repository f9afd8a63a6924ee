"""NaN and infinities in requests, where the operator lets them pass."""

import numpy as np
import pytest

from support import checkpoints
from support.client import Client, feature_inputs

WIDTH = 48


@pytest.fixture
def lenient(start_server):
    server = start_server(None, "--allow-non-finite")
    with Client(server.address) as client:
        client.upload_checkpoint("mlp", checkpoints.mlp())
        client.quantize("mlp", "mlp-int8")
        client.load("mlp", "checkpoints/mlp")
        client.load("mlp-int8", "bundles/mlp-int8")
        yield client


@pytest.mark.parametrize("model", ["mlp", "mlp-int8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_only_the_row_that_holds_it_is_nan(lenient, model, bad):
    x = np.random.default_rng(1).normal(size=(3, WIDTH)).astype(np.float32)
    spoiled = x.copy()
    spoiled[1, 5] = bad
    answers = (
        (
            lenient.matmul(model, "fc1", x),
            lenient.matmul(model, "fc1", spoiled),
        ),
        (
            lenient.forward(model, feature_inputs(x)),
            lenient.forward(model, feature_inputs(spoiled)),
        ),
    )
    for exact, y in answers:
        assert not np.isfinite(y[1]).any()
        np.testing.assert_array_equal(y[[0, 2]], exact[[0, 2]])
