"""Policy `auto` on a real model: the budget holds on texts that calibration
never saw, and the report says what the bundle does."""

import numpy as np
import pytest
import safetensors.numpy

from support import bundle_reader, recomputed
from support.api import pb
from support.client import feature_inputs
from support.measures import cosines
from support.recomputed import FLOATS

BUDGET = 0.9995


@pytest.fixture(scope="module")
def job(minilm):
    operation = minilm.quantize(
        "minilm",
        "auto",
        "fortunes",
        policy=pb.POLICY_AUTO,
        budget=pb.Budget(min_mean_cosine=BUDGET),
    )
    assert operation.state == pb.Operation.STATE_SUCCEEDED, operation
    minilm.load("auto", "bundles/auto")
    return minilm


def test_the_budget_holds_on_texts_never_seen(job, held_out):
    each = cosines(
        job.embed_all("fp32", held_out), job.embed_all("auto", held_out)
    )
    print(f"mean {each.mean():.6f}, worst {each.min():.6f}")
    assert each.mean() >= BUDGET
    assert each.min() >= 0.998


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


def test_the_reports_numbers_follow_from_the_bundle(job, model_dir, tmp_path):
    checkpoint = safetensors.numpy.load_file(model_dir / "model.safetensors")
    checked = recomputed.check_weights(
        job.report("auto"), job.unpack_bundle("auto", tmp_path), checkpoint
    )
    assert checked > 10


def test_layers_of_one_input_share_their_smoothing(prepared, tmp_path):
    prepared.quantize(
        "bert",
        "smoothed",
        "bert",
        methods=pb.QuantizationMethods(smoothing=pb.SMOOTHING_SEARCH),
    )
    folder = prepared.unpack_bundle("smoothed", tmp_path)
    tensors = bundle_reader.tensors(folder)
    for block in range(2):
        layer = f"encoder.layer.{block}"
        query, key, value = (
            tensors[f"{layer}.attention.self.{part}.inverse_smoothing"]
            for part in ("query", "key", "value")
        )
        assert query.tobytes() == key.tobytes() == value.tobytes()
        assert len(np.unique(query)) > 1
        other = tensors[f"{layer}.intermediate.dense.inverse_smoothing"]
        assert other.tobytes() != query.tobytes()


def test_every_method_is_served(prepared):
    rows = np.random.default_rng(7).normal(0, 1, (64, 48)).astype(np.float32)
    exact = prepared.forward("mlp", feature_inputs(rows))
    for name, methods in {
        "grouped": {"group_size": 32},
        "rotated": {"hadamard_block": 16, "rounding": pb.ROUNDING_GPTQ},
        "smoothed": {"smoothing": pb.SMOOTHING_SEARCH},
        "alpha": {"smoothing": pb.SMOOTHING_ALPHA, "smoothing_alpha": 0.5},
        "corrected": {"bias_correction": True, "group_size": 32},
    }.items():
        for scheme in (pb.SCHEME_W8A8_DYNAMIC, pb.SCHEME_W8A8_STATIC):
            bundle = f"{name}-{scheme}"
            operation = prepared.quantize(
                "mlp",
                bundle,
                "mlp",
                scheme=scheme,
                methods=pb.QuantizationMethods(**methods),
            )
            assert operation.state == pb.Operation.STATE_SUCCEEDED, operation
            prepared.load(bundle, f"bundles/{bundle}")
            y = prepared.forward(bundle, feature_inputs(rows))
            assert np.linalg.norm(y - exact) < 0.05 * np.linalg.norm(exact)
