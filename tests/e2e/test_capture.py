"""Live traffic into a calibration: a model is calibrated again with what it is
asked, quantized and swapped, under load, without a restart or one error."""

import contextlib
import json
import signal
import subprocess
import threading
import time

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton

from support import checkpoints, oip
from support.api import pb
from support.client import Client, feature_inputs, token_inputs
from support.paths import binary
from support.prometheus_text import Samples, when

LAYER = "encoder.layer.0.attention.self.query"


@pytest.fixture
def served(start_server):
    """A server that allows captures, and a client of it."""
    server = start_server(None, "--allow-capture")
    with Client(server.address) as client:
        yield server, client


def sequences(rng, count):
    vocabulary = checkpoints.BERT["vocab_size"]
    return [
        rng.integers(0, vocabulary, n).tolist()
        for n in rng.integers(1, 20, count)
    ]


@contextlib.contextmanager
def under_load(*asks):
    """Each ask(rng) over and over on a thread of its own; fails with the first
    error."""
    done = threading.Event()
    errors, answered = [], [0] * len(asks)

    def run(index):
        rng = np.random.default_rng(index)
        try:
            while not done.is_set():
                asks[index](rng)
                answered[index] += 1
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=run, args=(i,)) for i in range(len(asks))
    ]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not errors, errors[0]
    assert min(answered) > 0


def start_capture(client, calibration, model, **options):
    return client.calibrations.StartCapture(
        pb.StartCaptureRequest(
            calibration=f"calibrations/{calibration}",
            model=f"models/{model}",
            **options,
        ),
        timeout=client.timeout,
    )


def wait_until_done(client, calibration, seconds=60):
    request = pb.GetCalibrationRequest(
        name=f"calibrations/{calibration}", without_layers=True
    )
    end = time.monotonic() + seconds
    while True:
        found = client.calibrations.GetCalibration(request, timeout=20)
        if found.capture.state == pb.Capture.STATE_DONE:
            return found
        assert time.monotonic() < end, found
        time.sleep(0.05)


def test_a_model_learns_from_its_traffic_and_is_swapped_under_load(served):
    server, client = served
    client.upload_checkpoint("bert", checkpoints.bert())
    client.create_calibration("first", "bert")
    batch = token_inputs(sequences(np.random.default_rng(9), 128))
    client.upload_batches("first", [batch])
    spec = {"scheme": pb.SCHEME_W8A8_STATIC}
    assert client.quantize("bert", "first", "first", **spec).bundle
    client.load("m", "bundles/first")
    client.create_calibration("live", "bert")

    def forward(rng):
        client.embed("m", sequences(rng, 4))

    with triton.InferenceServerClient(server.address) as standard:

        def infer(rng):
            standard.infer("m", oip.tokens(sequences(rng, 3)))

        with under_load(forward, forward, infer) as answered:
            started = start_capture(
                client, "live", "m", rate=0.5, max_samples=200
            )
            assert started.capture.state == pb.Capture.STATE_RUNNING
            assert started.capture.model == "models/m"
            live = wait_until_done(client, "live")
            assert live.capture.taken_samples == live.sample_count == 200
            assert "200 samples" in live.capture.state_reason
            operation = client.quantize("bert", "second", "live", **spec)
            assert operation.bundle == "bundles/second", operation
            client.load("m", "bundles/second", traffic_share=0.3)
            before = sum(answered)
            while sum(answered) < before + 50:
                time.sleep(0.01)
            client.load("m", "bundles/second", version=2)
    assert server.running()
    loaded = client.models.GetModel(pb.GetModelRequest(name="models/m"))
    assert (loaded.source, loaded.version) == ("bundles/second", 2)
    layers = {x.layer: x for x in client.get_calibration("live").layers}
    assert layers[LAYER].row_count >= 200
    samples = Samples(server.metrics_text())
    name = "octet_capture_samples_total"
    assert samples.get(name, model="m", result="taken") == 200


def test_a_layer_learns_from_its_products(served):
    server, client = served
    client.upload_checkpoint("set", checkpoints.linear_set(layers=2))
    client.load("m", "checkpoints/set")
    layers = ["block.0.proj", "block.1.proj"]
    client.create_calibration("live", "set")
    start_capture(client, "live", "m", rate=1, max_samples=1000)

    def ask(layer):
        return lambda rng: client.matmul("m", layer, rng.normal(0, 1, (4, 24)))

    x = np.random.default_rng(3).normal(0, 1, (8, 24)).astype(np.float32)
    exact = client.matmul("m", layers[0], x)
    with under_load(*map(ask, layers)):
        live = wait_until_done(client, "live")
        assert live.sample_count == 1000
        # Static codes have their ranges from what was captured.
        operation = client.quantize(
            "set", "set-int8", "live", scheme=pb.SCHEME_W8A8_STATIC
        )
        assert operation.bundle, operation
        client.load("m", "bundles/set-int8")
    answer = client.matmul("m", layers[0], x)
    assert not np.array_equal(answer, exact)
    error = np.linalg.norm(answer - exact) / np.linalg.norm(exact)
    assert error < 0.05
    # And from now on live rows are compared with those.

    def looked_at(samples):
        client.matmul("m", layers[0], x)
        return samples.get("octet_input_range_ratio_count", model="m") > 0

    when(server, looked_at)


def test_a_server_captures_nothing_unless_it_is_told_to(prepared):
    with pytest.raises(grpc.RpcError) as error:
        start_capture(prepared, "mlp", "mlp", rate=1)
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "--allow-capture" in error.value.details()
    before = prepared.get_calibration("mlp").sample_count
    prepared.forward("mlp", feature_inputs(np.ones((4, 48))))
    after = prepared.get_calibration("mlp")
    assert after.sample_count == before
    assert not after.HasField("capture")


def test_the_command_waits_stops_and_shows(served):
    server, client = served
    client.upload_checkpoint("mlp", checkpoints.mlp())
    client.load("m", "checkpoints/mlp")
    client.create_calibration("live", "mlp")
    rows = feature_inputs(np.ones((3, 48)))

    def command(*arguments):
        return [
            *(binary("octet"), "--server", server.address, "--json"),
            *("calibration", *arguments),
        ]

    def run(*arguments):
        return subprocess.run(
            command(*arguments), capture_output=True, text=True, timeout=60
        )

    def ask(_):
        client.forward("m", rows)

    capture = ("capture", "live", "--model", "m")
    with under_load(ask):
        waited = run(*capture, "--samples", "10", "--duration", "5m", "--wait")
    assert waited.returncode == 0, waited.stderr
    waited = json.loads(waited.stdout)
    assert int(waited["sample_count"]) == 10
    assert waited["capture"]["state"] == "STATE_DONE"

    assert run(*capture, "--rate", "0.5").returncode == 0
    stopped = json.loads(run("capture", "live", "--stop").stdout)["capture"]
    assert "stopped" in stopped["state_reason"]
    shown = subprocess.run(
        [x for x in command("get", "live") if x != "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert "capture of models/m done" in shown
    for wrong in (("capture", "live"), (*capture, "--duration", "soon")):
        assert run(*wrong).returncode == 2

    # Ctrl-C ends the capture, not only the command.
    waiting = subprocess.Popen(
        command(*capture, "--wait"), stdout=subprocess.PIPE, text=True
    )
    request = pb.GetCalibrationRequest(
        name="calibrations/live", without_layers=True
    )
    end = time.monotonic() + 20
    while (
        client.calibrations.GetCalibration(request).capture.state
        != pb.Capture.STATE_RUNNING
    ):
        assert time.monotonic() < end
        time.sleep(0.02)
    waiting.send_signal(signal.SIGINT)
    out, _ = waiting.communicate(timeout=60)
    assert json.loads(out)["capture"]["state"] == "STATE_DONE"
