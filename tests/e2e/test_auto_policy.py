"""Policy `auto` on a real model: the budget holds on texts that calibration
never saw, and the report says what the bundle does."""

import numpy as np
import pytest

from support import checkpoints, texts
from support.api import pb
from support.client import token_inputs

BATCH = 16
BUDGET = 0.9995
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
