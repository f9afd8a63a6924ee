"""A report's numbers, computed again from the bundle and the checkpoint."""

import numpy as np

from support import bundle_reader
from support.api import pb
from support.measures import cosine, cosines, max_error, sqnr_db

FLOATS = (pb.SCHEME_FP32, pb.SCHEME_BF16, pb.SCHEME_FP16)
# What counts for a layer's size; a bias only where it was corrected (FP32).
_PARTS = (
    "weight",
    "weight_scale",
    "bias",
    "inverse_smoothing",
    "input_scale",
    "input_zero_point",
    "outlier_columns",
    "outlier_weight",
)


def folded_layers(report):
    """Those whose weights are others than the checkpoint's: together they
    compute the same, by themselves they do not."""
    pairs = [
        (layer.layer, layer.smoothing_folded_into)
        for layer in report.layers
        if layer.smoothing_folded_into
    ]
    return {name for pair in pairs for name in pair}


def assert_errors(measures, exact, actual, what, near=1e-3):
    """`measures` are of the report."""
    ours = sqnr_db(exact, actual)
    assert abs(measures.sqnr_db - ours) < 10 * near, (what, measures, ours)
    assert abs(measures.cosine - cosine(exact, actual)) < 1e-6, what
    largest = max_error(exact, actual)
    assert np.isclose(measures.max_error, largest, rtol=near), (what, largest)


def check_weights(report, folder, checkpoint):
    """Sizes of all, and errors of weights, from the bundle's tensors."""
    tensors = bundle_reader.tensors(folder)
    weights = dict(bundle_reader.weights(folder))
    assert report.bundle_bytes == sum(t.nbytes for t in tensors.values())
    folded = folded_layers(report)
    checked = 0
    for layer in report.layers:
        exact = checkpoint[f"{layer.layer}.weight"]
        assert layer.float_bytes == 4 * exact.size
        if layer.scheme in FLOATS or layer.layer in folded:
            continue
        read = weights[layer.layer]
        assert_errors(layer.weight_error, exact, read, layer.layer)
        own = [f"{layer.layer}.{part}" for part in _PARTS]
        assert layer.stored_bytes == sum(
            tensors[name].nbytes
            for name in own
            if name in tensors
            and (not name.endswith(".bias") or tensors[name].dtype == "<f4")
        )
        checked += 1
    assert report.linear_stored_bytes == sum(
        layer.stored_bytes for layer in report.layers
    )
    return checked


def check_model(report, exact, actual):
    """Outputs of the float model and of the bundle for what was measured."""
    assert report.model_rows == len(exact)
    each = cosines(exact, actual)
    # Where smoothing is folded, so was the float model that it was compared to.
    near = 1e-6 if folded_layers(report) else 1e-9
    assert abs(report.mean_row_cosine - each.mean()) < near
    assert abs(report.worst_row_cosine - each.min()) < near
    assert_errors(report.model_error, exact, actual, "the model")
