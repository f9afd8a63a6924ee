"""A second look at live requests: answers against the float checkpoint, inputs
against the calibration."""

import threading
import time

import grpc
import numpy as np
import pytest

from support.api import pb
from support.client import feature_inputs, token_inputs
from support.prometheus_text import Samples, when


def rows(seed, size=1.0):
    rng = np.random.default_rng(seed)
    return feature_inputs(rng.normal(0, size, (8, 48)).astype(np.float32))


def test_a_shadow_compares_answers_with_the_checkpoint(server, prepared):
    loaded = prepared.load("shadowed", "bundles/mlp-int8", shadow_rate=1)
    assert loaded.shadow_rate == 1
    requests = 10
    for seed in range(requests):
        prepared.forward("shadowed", rows(seed))
        time.sleep(0.01)

    def drawn(samples):
        name = "octet_shadow_requests_total"
        return samples.get(name, model="shadowed") == requests

    samples = when(server, drawn)
    compared = samples.get("octet_shadow_cosine_count", model="shadowed")
    assert compared > 0
    cosine = samples.get("octet_shadow_cosine_sum", model="shadowed") / compared
    assert 0.99 < cosine <= 1 + 1e-9
    sqnr = samples.get("octet_shadow_sqnr_decibels_sum", model="shadowed")
    assert sqnr / compared > 20
    prepared.unload("shadowed")
    samples = Samples(server.metrics_text())
    assert "shadowed" not in samples.labels(
        "octet_shadow_cosine_count", "model"
    )


def test_a_float_model_is_no_shadow_of_itself(prepared):
    with pytest.raises(grpc.RpcError) as error:
        prepared.load("m", "checkpoints/mlp", shadow_rate=0.5)
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "shadow_rate" in error.value.details()


def test_inputs_beyond_the_calibration_are_counted(server, prepared):
    operation = prepared.quantize(
        "mlp", "mlp-static", "mlp", scheme=pb.SCHEME_W8A8_STATIC
    )
    assert operation.bundle, operation
    prepared.load("static", "bundles/mlp-static")

    def look(inputs, after):
        """Until another computation was looked at."""

        def is_looked_at(samples):
            prepared.forward("static", inputs)
            name = "octet_input_range_ratio_count"
            return samples.get(name, model="static") > after

        return when(server, is_looked_at)

    def counts(samples):
        beyond = samples.get("octet_input_range_ratio_count", model="static")
        beyond -= samples.get(
            "octet_input_range_ratio_bucket", model="static", le="1.25"
        )
        return beyond, samples.get(
            "octet_static_codes_saturated_total", model="static"
        )

    calm = look(rows(1, size=0.5), 0)
    assert calm.get("octet_static_codes_total", model="static") > 0
    assert counts(calm) == (0, 0)
    seen = calm.get("octet_input_range_ratio_count", model="static")
    beyond, saturated = counts(look(rows(2, size=10), seen + 4))
    assert beyond > 0
    assert saturated > 0


def test_watching_for_drift_takes_under_one_percent_of_the_cpu(
    server, prepared
):
    rng = np.random.default_rng(5)
    texts = token_inputs([rng.integers(0, 50, 20).tolist() for _ in range(64)])
    rows = rng.normal(0, 1, (64, 48)).astype(np.float32)
    done = threading.Event()

    def repeat(ask):
        while not done.is_set():
            ask()

    asks = [
        lambda: prepared.forward("bert-int8", texts),
        lambda: prepared.matmul("mlp-int8", "fc1", rows),
    ]
    threads = [threading.Thread(target=repeat, args=(a,)) for a in asks]
    before = Samples(server.metrics_text())
    for thread in threads:
        thread.start()

    def growth(after, name, **labels):
        return after.get(name, **labels) - before.get(name, **labels)

    def was_watched(after):
        return growth(after, "process_cpu_seconds_total") >= 3 and all(
            growth(after, "octet_input_range_ratio_count", model=model) > 0
            for model in ("bert-int8", "mlp-int8")
        )

    try:
        after = when(server, was_watched, seconds=120)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    watching = growth(after, "octet_watch_cpu_seconds_total", work="drift")
    assert 0 < watching < 0.01 * growth(after, "process_cpu_seconds_total")
