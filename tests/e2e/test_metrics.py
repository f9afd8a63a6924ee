"""/metrics after known traffic: names, labels, and counts that match."""

import grpc
import numpy as np
import pytest

from support.client import feature_inputs, token_inputs
from support.prometheus_text import Samples

FORWARD = "InferenceService/Forward"
MATMUL = "InferenceService/MatMul"


@pytest.fixture(scope="module")
def traffic(server, prepared):
    """Before and after: 7 Forward of which 2 fail, 3 MatMul, 1 of nothing."""
    before = Samples(server.metrics_text())
    for _ in range(3):
        prepared.embed("bert-int8", [[1, 2, 3], [4, 5]])
    prepared.embed("bert", [[1, 2]])
    prepared.forward("mlp-int8", feature_inputs(np.ones((4, 48))))
    for _ in range(2):
        with pytest.raises(grpc.RpcError):
            prepared.forward("bert-int8", token_inputs([[1, 99]]))
    for _ in range(3):
        prepared.matmul("mlp-int8", "fc1", np.ones((8, 48)))
    with pytest.raises(grpc.RpcError):
        prepared.matmul("nowhere", "fc1", np.ones((8, 48)))
    return before, Samples(server.metrics_text())


def growth(traffic, name, **labels):
    before, after = traffic
    return after.get(name, **labels) - before.get(name, **labels)


def test_requests_are_counted_by_method_and_code(traffic):
    def requests(method, code):
        return growth(
            traffic, "octet_rpc_requests_total", method=method, code=code
        )

    assert requests(FORWARD, "OK") == 5
    assert requests(FORWARD, "INVALID_ARGUMENT") == 2
    assert requests(MATMUL, "OK") == 3
    assert requests(MATMUL, "NOT_FOUND") == 1


def test_latency_histogram_counts_every_request(traffic):
    _, after = traffic
    assert after.types["octet_rpc_duration_seconds"] == "histogram"
    for method, count in ((FORWARD, 7), (MATMUL, 4)):
        name = "octet_rpc_duration_seconds"
        assert growth(traffic, f"{name}_count", method=method) == count
        infinite = growth(traffic, f"{name}_bucket", method=method, le="+Inf")
        assert infinite == count
        assert growth(traffic, f"{name}_sum", method=method) > 0
    bounds = {
        float(le)
        for le in after.labels("octet_rpc_duration_seconds_bucket", "le")
    }
    assert min(bounds) <= 20e-6
    assert 10 in bounds


def test_nothing_is_in_flight_when_nobody_asks(traffic):
    _, after = traffic
    assert after.get("octet_rpc_in_flight") == 0
    assert after.get("octet_queue_depth") == 0
    assert after.get("octet_queue_capacity") > 0


def test_rows_are_counted_per_model(traffic):
    def rows(model):
        return growth(traffic, "octet_rows_total", model=model)

    assert rows("bert-int8") == 15  # tokens
    assert rows("bert") == 2
    assert rows("mlp-int8") == 4 + 3 * 8


def test_stages_sum_up_to_the_request(traffic):
    """Nothing of a request's time is hidden between the stages."""
    stages = growth(
        traffic, "octet_stage_duration_seconds_sum", model="bert-int8"
    )
    _, after = traffic
    assert {"queue", "quantize", "dot", "dequantize"} <= after.labels(
        "octet_stage_duration_seconds_count", "stage"
    )
    whole = growth(traffic, "octet_rpc_duration_seconds_sum", method=FORWARD)
    assert 0 < stages < whole * 1.05


def test_dequant_overhead_can_be_computed(traffic):
    """Every phase of the INT8 linears took some time."""
    for phase in ("quantize", "dot", "dequantize"):
        seconds = growth(
            traffic,
            "octet_linear_seconds_total",
            model="bert-int8",
            phase=phase,
        )
        assert seconds > 0, phase
    _, after = traffic
    kinds = {
        dict(labels)["layer_kind"]
        for name, labels in after.values
        if name == "octet_linear_seconds_total"
        and ("model", "bert-int8") in labels
    }
    # By kind of layer, so that depth does not make series.
    assert "intermediate.dense" in kinds
    assert not any("layer.0" in kind for kind in kinds)


def test_weights_and_compression(traffic):
    _, after = traffic
    name = "octet_weights_bytes"
    assert after.get(name, model="mlp-int8", precision="int8") > 0
    assert after.get(name, model="mlp", precision="int8") == 0
    assert after.get(name, model="mlp", precision="fp32") > 0
    assert after.get("octet_compression_ratio", model="mlp-int8") > 1
    assert after.get("octet_models_loaded") == 4


def test_what_runs_is_named(traffic):
    _, after = traffic
    assert after.get("octet_build_info") == 1
    assert after.labels("octet_build_info", "version")
    isa = after.labels("octet_kernel_info", "isa")
    assert isa and isa <= {
        "scalar",
        "avx2",
        "avx512vl_vnni",
        "avxvnni",
        "avx512vnni",
        "neon",
        "dotprod",
        "i8mm",
    }
    assert after.get("process_resident_memory_bytes") > 1 << 20
    assert after.get("process_cpu_seconds_total") > 0


def test_quantization_jobs_are_counted(traffic):
    _, after = traffic
    assert after.get("octet_quantization_jobs", state="succeeded") == 2
    assert after.get("octet_quantization_duration_seconds_count") == 2


def test_every_metric_is_explained_and_well_named(traffic):
    _, after = traffic
    for name, kind in after.types.items():
        assert after.help.get(name), f"{name} has no help"
        if not name.startswith("octet_"):
            continue
        if kind == "counter":
            assert name.endswith("_total"), name
        else:
            assert not name.endswith("_total"), name
        assert not name.endswith(("_ms", "_us", "_milliseconds", "_mb"))


def test_unloading_a_model_takes_its_series_away(prepared, server, traffic):
    prepared.load("short-lived", "bundles/mlp-int8")
    prepared.matmul("short-lived", "fc1", np.ones((1, 48)))
    samples = Samples(server.metrics_text())
    assert any(
        ("model", "short-lived") in labels for _, labels in samples.values
    )
    prepared.unload("short-lived")
    samples = Samples(server.metrics_text())
    assert not any(
        ("model", "short-lived") in labels for _, labels in samples.values
    )
