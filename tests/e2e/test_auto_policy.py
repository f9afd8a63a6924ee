"""Policy `auto` on a real model: the budget holds on texts that calibration
never saw, and the report says what the bundle does."""

import io
import json
import tarfile

import numpy as np
import pytest
import safetensors.numpy

from support import checkpoints, texts
from support.api import pb
from support.client import feature_inputs, token_inputs

BATCH = 16
BUDGET = 0.9995
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
FLOATS = (pb.SCHEME_FP32, pb.SCHEME_BF16, pb.SCHEME_FP16)


@pytest.fixture(scope="module")
def job(client, model_dir):
    client.timeout = 600
    client.upload_checkpoint("minilm", checkpoints.from_directory(model_dir))
    client.create_calibration("fortunes", "minilm")
    sequences = texts.tokenize(model_dir, texts.calibration_texts(512))
    client.upload_batches(
        "fortunes",
        [
            token_inputs(sequences[i : i + BATCH])
            for i in range(0, len(sequences), BATCH)
        ],
    )
    operation = client.quantize(
        "minilm",
        "auto",
        "fortunes",
        policy=pb.POLICY_AUTO,
        budget=pb.Budget(min_mean_cosine=BUDGET),
    )
    assert operation.state == pb.Operation.STATE_SUCCEEDED, operation
    client.load("auto", "bundles/auto")
    client.load("fp32", "checkpoints/minilm")
    return client


def embed(client, model, sequences):
    return np.concatenate(
        [
            client.embed(model, sequences[i : i + BATCH])
            for i in range(0, len(sequences), BATCH)
        ]
    ).astype(np.float64)


def test_the_budget_holds_on_texts_never_seen(job, held_out):
    a, b = embed(job, "fp32", held_out), embed(job, "auto", held_out)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = np.sum(a * b, axis=1) / norms
    print(f"mean {cosines.mean():.6f}, worst {cosines.min():.6f}")
    assert cosines.mean() >= BUDGET
    assert cosines.min() >= 0.998


def test_the_report_is_of_the_search(job):
    report = job.report("auto")
    assert report.policy == "auto"
    assert [b.measure for b in report.budgets] == ["min_mean_cosine"]
    assert report.budgets[0].held
    assert report.budgets[0].reached >= BUDGET
    assert report.verified_plans >= 1
    assert 0 < report.tuned_rows < report.model_rows
    chosen = [p for p in report.frontier if p.chosen]
    assert len(chosen) == 1
    assert chosen[0].measured
    for layer in report.layers:
        (candidate,) = [c for c in layer.candidates if c.chosen]
        assert candidate.scheme == layer.scheme
        assert candidate.stored_bytes == layer.stored_bytes
    assert any(layer.scheme not in FLOATS for layer in report.layers)


def test_a_budget_beyond_reach_says_how_near_it_came(job):
    operation = job.quantize(
        "minilm",
        "exact",
        "fortunes",
        policy=pb.POLICY_AUTO,
        budget=pb.Budget(min_mean_cosine=1 - 2e-9),
        include=["encoder.layer.0.*"],
        float_scheme=pb.SCHEME_BF16,
    )
    assert operation.state == pb.Operation.STATE_FAILED
    assert operation.error.code == 9  # FAILED_PRECONDITION
    assert "the best reaches a mean cosine of 0.99" in operation.error.message
    assert "encoder.layer" in operation.error.message


def hadamard(rows, block):
    """Rows turned by blocks; the rest by the largest powers that fit."""
    rows = rows.copy()
    start = 0
    while start < rows.shape[1]:
        while block > rows.shape[1] - start:
            block //= 2
        part = rows[:, start : start + block]
        matrix = np.ones((1, 1))
        while len(matrix) < block:
            matrix = np.block([[matrix, matrix], [matrix, -matrix]])
        rows[:, start : start + block] = part @ matrix / np.sqrt(block)
        start += block
    return rows


def stored_weight(tensors, layer, scheme):
    """W as the bundle's tensors say it, in double."""
    codes = tensors[f"{layer}.weight"].astype(np.float64)
    scales = tensors[f"{layer}.weight_scale"].astype(np.float64)
    group = scheme["group_size"] or codes.shape[1]
    weight = codes * np.repeat(scales, group, axis=1)[:, : codes.shape[1]]
    if scheme["hadamard_block"]:
        weight = hadamard(weight, scheme["hadamard_block"])
    if f"{layer}.outlier_columns" in tensors:
        columns = tensors[f"{layer}.outlier_columns"]
        weight[:, columns] = tensors[f"{layer}.outlier_weight"].T
    if scheme["smoothed"]:
        weight *= tensors[f"{layer}.inverse_smoothing"].astype(np.float64)
    return weight


def test_the_reports_numbers_follow_from_the_bundle(job, model_dir):
    with tarfile.open(fileobj=io.BytesIO(job.download_bundle("auto"))) as tar:
        tensors = safetensors.numpy.load(
            tar.extractfile("model.safetensors").read()
        )
        plan = json.load(tar.extractfile("octet.json"))["plan"]
    weights = safetensors.numpy.load_file(model_dir / "model.safetensors")
    report = job.report("auto")
    assert report.bundle_bytes == sum(t.nbytes for t in tensors.values())
    # Weights of folded layers are others, which compute the same together.
    folds = {
        layer.layer: layer.smoothing_folded_into
        for layer in report.layers
        if layer.smoothing_folded_into
    }
    for layer in report.layers:
        if layer.scheme in FLOATS:
            continue
        if layer.layer in {*folds, *folds.values()}:
            continue
        exact = weights[f"{layer.layer}.weight"].astype(np.float64)
        error = exact - stored_weight(tensors, layer.layer, plan[layer.layer])
        sqnr = 10 * np.log10(np.sum(exact**2) / np.sum(error**2))
        assert abs(layer.weight_error.sqnr_db - sqnr) < 0.01, layer.layer
        assert np.isclose(
            layer.weight_error.max_error, np.abs(error).max(), rtol=1e-3
        )
        own = [f"{layer.layer}.{part}" for part in _PARTS]
        assert layer.stored_bytes == sum(
            tensors[name].nbytes
            for name in own
            if name in tensors
            and (not name.endswith(".bias") or tensors[name].dtype == "<f4")
        )


def test_every_method_is_served(client):
    rng = np.random.default_rng(7)
    rows = rng.normal(0, 1, (64, 48)).astype(np.float32)
    client.upload_checkpoint("mlp", checkpoints.mlp())
    client.create_calibration("mlp", "mlp")
    client.upload_batches("mlp", [feature_inputs(rows)])
    client.load("mlp", "checkpoints/mlp")
    exact = client.forward("mlp", feature_inputs(rows))
    for name, methods in {
        "grouped": {"group_size": 32},
        "rotated": {"hadamard_block": 16, "rounding": pb.ROUNDING_GPTQ},
        "smoothed": {"smoothing": pb.SMOOTHING_SEARCH},
        "alpha": {"smoothing": pb.SMOOTHING_ALPHA, "smoothing_alpha": 0.5},
        "corrected": {"bias_correction": True, "group_size": 32},
    }.items():
        for scheme in (pb.SCHEME_W8A8_DYNAMIC, pb.SCHEME_W8A8_STATIC):
            bundle = f"{name}-{scheme}"
            operation = client.quantize(
                "mlp",
                bundle,
                "mlp",
                scheme=scheme,
                methods=pb.QuantizationMethods(**methods),
            )
            assert operation.state == pb.Operation.STATE_SUCCEEDED, operation
            client.load(bundle, f"bundles/{bundle}")
            y = client.forward(bundle, feature_inputs(rows))
            assert np.linalg.norm(y - exact) < 0.05 * np.linalg.norm(exact)
