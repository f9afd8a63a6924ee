"""Calibration batches that do not fit the model, or hold no numbers."""

import numpy as np
import pytest

from support.api import pb
from support.bad_input import CODE, Case, fresh, rows_with
from support.client import feature_inputs, tensor, token_inputs


def calibrate(model, *batches):
    def action(client):
        name = fresh()
        client.create_calibration(name, model)
        return client.upload_batches(name, batches)

    return action


def activations(layer, rows):
    return pb.NamedActivations(
        layer=layer, rows=rows if isinstance(rows, pb.Tensor) else tensor(rows)
    )


def after_good_batches(bad):
    """Two good batches, then a bad one: it is refused with its index, and what
    came before stays."""

    def action(client):
        name = fresh()
        client.create_calibration(name, "mlp")
        good = feature_inputs(np.ones((3, 48), np.float32))
        try:
            client.upload_batches(name, [good, good, bad])
        finally:
            calibration = client.get_calibration(name)
            assert calibration.batch_count == 2
            assert calibration.sample_count == 6

    return action


CALIBRATION = [
    Case(
        "calibration-of-nothing",
        lambda client: client.create_calibration(fresh(), "nowhere"),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "calibration-id-bad",
        lambda client: client.create_calibration("A/../B", "mlp"),
        CODE.INVALID_ARGUMENT,
        ("calibration_id",),
        "calibration_id",
    ),
    Case(
        "calibration-id-taken",
        lambda client: client.create_calibration("mlp", "mlp"),
        CODE.ALREADY_EXISTS,
        ("mlp",),
    ),
    Case(
        "calibration-unknown",
        lambda client: client.upload_batches(
            "nowhere", [feature_inputs(np.ones((1, 48)))]
        ),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "calibration-stream-empty",
        lambda client: client.upload_batches("mlp", []),
        CODE.INVALID_ARGUMENT,
        ("calibration",),
    ),
    Case(
        "batch-empty",
        calibrate("mlp", pb.ModelInputs()),
        CODE.INVALID_ARGUMENT,
        ("batches[0]",),
    ),
    Case(
        "batch-of-no-rows",
        calibrate("mlp", feature_inputs(np.zeros((0, 48)))),
        CODE.INVALID_ARGUMENT,
        ("batches[0]",),
    ),
    Case(
        "batch-of-no-tokens",
        calibrate("bert", token_inputs([])),
        CODE.INVALID_ARGUMENT,
        ("batches[0]", "tokens"),
    ),
    Case(
        "batch-of-the-wrong-kind",
        calibrate("mlp", token_inputs([[1, 2]])),
        CODE.INVALID_ARGUMENT,
        ("batches[0]", "features"),
    ),
    Case(
        "batch-with-nan",
        after_good_batches(feature_inputs(rows_with(np.nan))),
        CODE.INVALID_ARGUMENT,
        ("batches[2].features[1][5]",),
    ),
    Case(
        "batch-with-infinity",
        after_good_batches(feature_inputs(rows_with(np.inf))),
        CODE.INVALID_ARGUMENT,
        ("batches[2].features[1][5]",),
    ),
    Case(
        "batch-of-another-width",
        after_good_batches(feature_inputs(np.ones((2, 47)))),
        CODE.INVALID_ARGUMENT,
        ("batches[2]", "47", "48"),
    ),
    Case(
        "batch-token-out-of-vocabulary",
        calibrate("bert", token_inputs([[1, 2]]), token_inputs([[3, 4, 50]])),
        CODE.INVALID_ARGUMENT,
        ("batches[1].tokens.ids[2]", "50"),
    ),
    Case(
        "activations-of-an-unknown-layer",
        calibrate("mlp", activations("fc9", np.ones((2, 48)))),
        CODE.NOT_FOUND,
        ("fc9",),
    ),
    Case(
        "activations-of-another-width",
        calibrate("mlp", activations("fc1", np.ones((2, 49)))),
        CODE.INVALID_ARGUMENT,
        ("batches[0]", "49", "48"),
    ),
    Case(
        "activations-with-nan",
        calibrate("mlp", activations("fc1", rows_with(np.nan))),
        CODE.INVALID_ARGUMENT,
        ("batches[0]", "[1, 5]"),
    ),
    Case(
        "merge-with-itself",
        lambda client: client.calibrations.MergeCalibrations(
            pb.MergeCalibrationsRequest(
                into="calibrations/mlp", **{"from": ["calibrations/mlp"]}
            ),
            timeout=60,
        ),
        CODE.INVALID_ARGUMENT,
        ("from",),
    ),
    Case(
        "merge-of-different-checkpoints",
        lambda client: client.calibrations.MergeCalibrations(
            pb.MergeCalibrationsRequest(
                into="calibrations/mlp", **{"from": ["calibrations/bert"]}
            ),
            timeout=60,
        ),
        CODE.INVALID_ARGUMENT,
        ("checkpoint",),
    ),
]


@pytest.mark.parametrize("case", CALIBRATION, ids=str)
def test_a_bad_calibration(prepared, server, still_serves, case):
    case.check(prepared, server)
    still_serves()
