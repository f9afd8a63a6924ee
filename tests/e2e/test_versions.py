"""Versions of a model over the wire: shares, names, states, and swaps under
load without one error and without half a model."""

import threading
import time

import grpc
import numpy as np
import pytest

from support import checkpoints
from support.api import pb
from support.client import Client, array, feature_inputs
from support.prometheus_text import Samples

ROWS = np.random.default_rng(5).normal(0, 1, (3, 48)).astype(np.float32)
SOURCES = ("checkpoints/mlp", "bundles/mlp-int8")


@pytest.fixture(scope="module")
def expected(prepared):
    """The answer of each source."""
    inputs = feature_inputs(ROWS)
    answers = {
        "checkpoints/mlp": prepared.forward("mlp", inputs),
        "bundles/mlp-int8": prepared.forward("mlp-int8", inputs),
    }
    assert not np.array_equal(*answers.values())
    return answers


def versions(client, model):
    return {
        m.version: m
        for m in client.models.ListModels(pb.ListModelsRequest()).models
        if m.name == f"models/{model}"
    }


def test_a_canary_takes_its_share_and_answers_by_its_number(prepared, expected):
    first, second = SOURCES
    assert prepared.load("canary", first).version == 1
    loaded = prepared.load("canary", second, traffic_share=0.25)
    assert (loaded.version, loaded.state) == (2, pb.MODEL_STATE_READY)
    assert loaded.traffic_share == 0.25
    listed = versions(prepared, "canary")
    assert {v: m.traffic_share for v, m in listed.items()} == {1: 0.75, 2: 0.25}

    inputs = feature_inputs(ROWS)
    for version, source in enumerate(SOURCES, 1):
        answer = prepared.forward(f"canary/versions/{version}", inputs)
        np.testing.assert_array_equal(answer, expected[source])
    drawn = [prepared.forward("canary", inputs) for _ in range(200)]
    canaries = sum(np.array_equal(a, expected[second]) for a in drawn)
    others = sum(np.array_equal(a, expected[first]) for a in drawn)
    assert canaries + others == len(drawn)
    assert 20 <= canaries <= 80  # 50 +- 5 standard deviations

    # Promoted without reading it again.
    promoted = prepared.load("canary", second, version=2)
    assert promoted.load_time == loaded.load_time
    assert prepared.models.GetModel(
        pb.GetModelRequest(name="models/canary")
    ).traffic_share == pytest.approx(1)
    with pytest.raises(grpc.RpcError) as error:
        prepared.forward("canary/versions/1", inputs)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert "loaded are versions: 2" in error.value.details()
    prepared.unload("canary/versions/2")
    assert not versions(prepared, "canary")


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({"traffic_share": 1.5}, "INVALID_ARGUMENT", "traffic_share"),
        ({"version": -1}, "INVALID_ARGUMENT", "version"),
        ({"version": 1}, "ALREADY_EXISTS", "version 1"),
    ],
)
def test_a_refused_load_changes_nothing(
    prepared, expected, request_, code, text
):
    prepared.load("kept", SOURCES[0])
    before = versions(prepared, "kept")
    if code == "ALREADY_EXISTS":
        request_ = {"version": max(before)}
        text = f"version {max(before)}"
    with pytest.raises(grpc.RpcError) as error:
        prepared.load("kept", SOURCES[1], **request_)
    assert error.value.code().name == code
    assert text in error.value.details()
    assert versions(prepared, "kept").keys() == before.keys()


@pytest.mark.parametrize(
    "name", ["mlp/versions/", "mlp/versions/x", "mlp/versions/0", "mlp/v/1"]
)
def test_a_name_that_is_none_is_refused(prepared, name):
    with pytest.raises(grpc.RpcError) as error:
        prepared.forward(name, feature_inputs(ROWS))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "model" in error.value.details()


def test_shares_and_numbers_survive_a_restart(start_server, tmp_path):
    server = start_server(tmp_path)
    with Client(server.address) as client:
        client.upload_checkpoint("mlp", checkpoints.mlp())
        client.load("m", "checkpoints/mlp")
        client.load("m", "checkpoints/mlp", version=7, traffic_share=0.125)
        server.stop()
    server = start_server(tmp_path)
    with Client(server.address) as client:
        shares = {v: m.traffic_share for v, m in versions(client, "m").items()}
        assert shares == {1: 0.875, 7: 0.125}


def test_swaps_every_50_ms_under_load_show_no_error(server, prepared, expected):
    inputs = feature_inputs(ROWS)
    prepared.load("swapped", SOURCES[0])
    end = time.monotonic() + 3
    errors, answered = [], [0] * 4

    def ask(index):
        with Client(server.address) as client:
            while time.monotonic() < end and not errors:
                call = client.inference.Forward
                request = pb.ForwardRequest(
                    model="models/swapped", inputs=inputs
                )
                try:
                    answer = array(call(request, timeout=20).output)
                except grpc.RpcError as error:
                    errors.append(error)
                    return
                if not any(
                    np.array_equal(answer, e) for e in expected.values()
                ):
                    errors.append(answer)
                answered[index] += 1

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    swaps = 0
    while time.monotonic() < end and not errors:
        swaps += 1
        prepared.load("swapped", SOURCES[swaps % 2])
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert not errors
    assert min(answered) > 0
    assert (
        prepared.models.GetModel(
            pb.GetModelRequest(name="models/swapped")
        ).version
        == swaps + 1
    )


def test_series_of_a_version_come_and_go_with_it(server, prepared):
    prepared.load("counted", SOURCES[0])
    prepared.forward("counted", feature_inputs(ROWS))
    samples = Samples(server.metrics_text())
    rows = samples.get("octet_version_rows_total", model="counted", version="1")
    assert rows == len(ROWS)
    prepared.unload("counted")
    samples = Samples(server.metrics_text())
    assert "counted" not in samples.labels("octet_model_version_info", "model")
