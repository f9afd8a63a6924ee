"""What plans leave of a real model's quality, on texts that calibration never
saw. The plans and their targets are those of tests/benchmarks/quality, where
the speed and the correlation with what people say are measured as well; policy
`auto` has a file of its own."""

import pytest

from quality.plans import METHODS, PLANS, TARGETS
from support.api import pb
from support.measures import cosines
from support.recomputed import FLOATS

FIXED = [name for name in TARGETS if "policy" not in PLANS[name]]


@pytest.fixture(scope="module")
def closeness(minilm, held_out):
    """closeness(name, spec): the plan is made and served; cosines to FP32."""
    exact = minilm.embed_all("fp32", held_out)

    def measure(name, spec):
        operation = minilm.quantize("minilm", name, "fortunes", **spec)
        assert operation.bundle == f"bundles/{name}", operation
        minilm.load(name, operation.bundle)
        each = cosines(exact, minilm.embed_all(name, held_out))
        minilm.unload(name)
        print(f"{name}: mean {each.mean():.6f}, worst {each.min():.5f}")
        return each

    return measure


@pytest.mark.parametrize("name", FIXED)
def test_a_plan_reaches_its_target(minilm, closeness, name):
    target = TARGETS[name]
    each = closeness(name, PLANS[name])
    assert each.mean() >= target["mean_cosine"]
    assert each.min() >= target.get("worst", 0)
    floats = [
        layer.layer
        for layer in minilm.report(name).layers
        if layer.scheme in FLOATS
    ]
    assert len(floats) <= target.get("float_layers", 0)


def test_outliers_by_sigma(minilm, closeness):
    """The threshold is a multiple of each input's own standard deviation."""
    name = "llm-int8-6-sigma"
    each = closeness(name, METHODS[name])
    assert each.mean() >= 0.9998
    assert each.min() >= 0.9992
    sigmas = {
        layer.layer: layer.sigma
        for layer in minilm.get_calibration("fortunes").layers
    }
    report = minilm.report(name)
    for layer in report.layers:
        threshold = 6 * sigmas[layer.layer]
        assert layer.outlier_threshold == pytest.approx(threshold, rel=1e-5)
        assert layer.scheme == pb.SCHEME_LLM_INT8
        assert 0 < layer.outlier_value_share < 0.01, layer.layer
    # One number for all would leave most layers without outliers.
    assert sum(layer.outlier_columns > 0 for layer in report.layers) == 36
