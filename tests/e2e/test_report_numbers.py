"""The report's numbers are computed again, from the bundle, the checkpoint and
the samples: calibration keeps all of them here, and half of them are held out
to measure on."""

import numpy as np
import pytest

from support import bundle_reader, checkpoints, recomputed
from support.api import pb
from support.client import feature_inputs, token_inputs

WIDTHS = (48, 64, 16)
SAMPLES = 128
LOUD = 5  # an input column of outliers
KEEP_ALL = pb.CalibrationOptions(kept_samples=SAMPLES, kept_rows=4096)


def plan(scheme, **methods):
    return {
        "scheme": getattr(pb, f"SCHEME_{scheme}"),
        "methods": pb.QuantizationMethods(**methods),
    }


AUTO = {
    "policy": pb.POLICY_AUTO,
    "budget": pb.Budget(min_mean_cosine=0.9995),
}
PLANS = {
    "dynamic": plan("W8A8_DYNAMIC"),
    "llm-int8": plan("LLM_INT8"),
    "clipped": plan(
        "W8A8_STATIC", calibrator=pb.CALIBRATOR_PERCENTILE, percentile=99.0
    ),
    "rotated": plan(
        "W8A8_DYNAMIC",
        hadamard_block=16,
        rounding=pb.ROUNDING_GPTQ,
        bias_correction=True,
    ),
    "smoothed": plan("W8A8_STATIC", smoothing=pb.SMOOTHING_SEARCH),
    "grouped": plan("W8A8_DYNAMIC", group_size=32),
    "half": plan("FP16"),
    "auto": AUTO,
}


@pytest.fixture(scope="module")
def rows():
    rows = np.random.default_rng(3).normal(0, 1, (SAMPLES, WIDTHS[0]))
    rows[:, LOUD] *= 20
    return rows.astype(np.float32)


@pytest.fixture(scope="module")
def sequences():
    rng = np.random.default_rng(4)
    return [
        rng.integers(0, checkpoints.BERT["vocab_size"], n).tolist()
        for n in rng.integers(4, 20, SAMPLES)
    ]


@pytest.fixture(scope="module")
def calibrated(client, rows, sequences):
    for name, files, batch in (
        ("mlp", checkpoints.mlp(widths=WIDTHS), feature_inputs(rows)),
        ("bert", checkpoints.bert(), token_inputs(sequences)),
    ):
        client.upload_checkpoint(name, files)
        client.create_calibration(name, name, options=KEEP_ALL)
        client.upload_batches(name, [batch])
        client.load(name, f"checkpoints/{name}")
    return client


@pytest.fixture(scope="module", params=PLANS)
def name(request, calibrated):
    """A plan, of which there are bundles mlp-NAME and bert-NAME, served."""
    for model in ("mlp", "bert"):
        bundle = f"{model}-{request.param}"
        operation = calibrated.quantize(
            model, bundle, model, **PLANS[request.param]
        )
        assert operation.bundle == f"bundles/{bundle}", operation
        calibrated.load(bundle, operation.bundle)
    return request.param


def test_sizes_and_weight_errors(calibrated, tmp_path, name):
    for model, exact in (
        ("mlp", checkpoints.mlp_tensors(widths=WIDTHS)),
        ("bert", checkpoints.bert_tensors()),
    ):
        bundle = f"{model}-{name}"
        report = calibrated.report(bundle)
        folder = calibrated.unpack_bundle(bundle, tmp_path / model)
        recomputed.check_weights(report, folder, exact)
        assert report.checkpoint_bytes == sum(t.nbytes for t in exact.values())


def key(values) -> int:
    """Of a sample, by which calibrations draw: sample_keys.h, with seed 0."""
    mask = (1 << 64) - 1

    def mix(x):
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
        return x ^ (x >> 31)

    fnv = 0xCBF29CE484222325 ^ mix(0)
    for byte in values.tobytes():
        fnv = (fnv ^ byte) * 0x100000001B3 & mask
    return mix(fnv)


def in_order(samples, dtype):
    return sorted(samples, key=lambda values: key(np.asarray(values, dtype)))


def held_out(samples, dtype, count):
    """The `count` samples with the largest keys."""
    return in_order(samples, dtype)[-count:]


def test_errors_of_the_model(calibrated, rows, sequences, name):
    for model, samples, dtype, inputs_of in (
        ("mlp", rows, np.float32, lambda each: feature_inputs(np.stack(each))),
        ("bert", sequences, np.int32, token_inputs),
    ):
        count = calibrated.report(f"{model}-{name}").model_rows
        assert 0.4 * SAMPLES < count <= 0.6 * SAMPLES
        inputs = inputs_of(held_out(samples, dtype, count))
        exact = calibrated.forward(model, inputs)
        actual = calibrated.forward(f"{model}-{name}", inputs)
        report = calibrated.report(f"{model}-{name}")
        recomputed.check_model(report, exact, actual)
        (own,) = [p for p in report.frontier if p.chosen]
        if report.policy == "fixed":
            assert own.mean_row_cosine == report.mean_row_cosine
            assert own.stored_bytes == report.linear_stored_bytes


def layer_inputs(client, rows):
    """Of the float model, layer by layer."""
    hidden = client.matmul("mlp", "fc1", rows)
    return {"fc1": rows, "fc2": np.maximum(hidden, 0)}


def test_output_errors_of_layers(calibrated, rows, name):
    report = calibrated.report(f"mlp-{name}")
    folded = recomputed.folded_layers(report)
    if name != "auto":  # it also goes by what is fast on this CPU
        assert bool(folded) == (name == "smoothed")
    measured = held_out(rows, np.float32, report.model_rows)
    inputs = layer_inputs(calibrated, np.stack(measured))
    for layer in report.layers:
        x = inputs[layer.layer]
        assert layer.output_rows == len(x)
        if layer.layer in folded:
            continue
        exact = calibrated.matmul("mlp", layer.layer, x)
        actual = calibrated.matmul(f"mlp-{name}", layer.layer, x)
        recomputed.assert_errors(layer.output_error, exact, actual, layer)


def test_shares_of_values(calibrated, rows, name):
    report = calibrated.report(f"mlp-{name}")
    inputs = layer_inputs(calibrated, rows)
    fitted = layer_inputs(
        calibrated, np.stack(in_order(rows, np.float32)[: -report.model_rows])
    )
    for layer in report.layers:
        x = inputs[layer.layer]
        seen = layer.activations
        assert np.isclose(seen.min, min(0, x.min()), rtol=1e-5)
        assert np.isclose(seen.max, x.max(), rtol=1e-5)
        assert np.isclose(seen.sigma, x.std(), rtol=1e-5)
        assert sum(seen.histogram.counts) == x.size
        columns = np.abs(x).max(axis=0)
        loudest = seen.largest_channels[0]
        assert loudest.channel == np.argmax(columns)
        assert np.isclose(loudest.absmax, columns.max(), rtol=1e-5)
        assert (seen.clip_min < seen.clip_max) == (name == "clipped")
        if name == "clipped":
            beyond = np.mean((x < seen.clip_min) | (x > seen.clip_max))
            assert beyond > 0.005
            # Of a histogram: the bins at the ends are divided evenly.
            assert np.isclose(seen.clipped_share, beyond, rtol=0.05)
        assert (layer.outlier_threshold == 6) == (name == "llm-int8")
        if name == "llm-int8":
            x = fitted[layer.layer]
            share = np.mean(np.abs(x) >= layer.outlier_threshold)
            assert share > 0.01
            assert np.isclose(layer.outlier_value_share, share, rtol=1e-3)


def test_a_budget_of_size_is_kept_by_the_bundle(calibrated, tmp_path):
    for model, exact in (
        ("mlp", checkpoints.mlp_tensors(widths=WIDTHS)),
        ("bert", checkpoints.bert_tensors()),
    ):
        floats = sum(tensor.nbytes for tensor in exact.values())
        for measure, limit in (
            ("max_bytes", 2 * floats // 3),
            ("max_size_ratio", 0.45),
        ):
            name = f"{model}-{measure.replace('_', '-')}"
            operation = calibrated.quantize(
                model,
                name,
                model,
                policy=pb.POLICY_AUTO,
                budget=pb.Budget(**{measure: limit}),
            )
            assert operation.bundle == f"bundles/{name}", operation
            folder = calibrated.unpack_bundle(name, tmp_path / name)
            stored = sum(
                tensor.nbytes
                for tensor in bundle_reader.tensors(folder).values()
            )
            reached = stored if measure == "max_bytes" else stored / floats
            assert reached <= limit
            (budget,) = calibrated.report(name).budgets
            assert (budget.measure, budget.held) == (measure, True)
            assert budget.limit == limit
            assert np.isclose(budget.reached, reached, rtol=1e-6)
