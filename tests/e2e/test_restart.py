"""Nothing is lost over a restart: what was loaded is loaded again and answers
with the same bits."""

import grpc
import numpy as np
import pytest

from support import checkpoints
from support.api import pb
from support.client import Client, feature_inputs


def names(response_list):
    return [entry.name for entry in response_list]


def inventory(client):
    return {
        "checkpoints": names(
            client.checkpoints.ListCheckpoints(
                pb.ListCheckpointsRequest(), timeout=60
            ).checkpoints
        ),
        "calibrations": names(
            client.calibrations.ListCalibrations(
                pb.ListCalibrationsRequest(), timeout=60
            ).calibrations
        ),
        "bundles": names(
            client.bundles.ListBundles(
                pb.ListBundlesRequest(), timeout=60
            ).bundles
        ),
        "models": [
            (model.name, model.source)
            for model in client.models.ListModels(
                pb.ListModelsRequest(), timeout=60
            ).models
        ],
        "operations": [
            (operation.name, operation.state)
            for operation in client.quantization.ListOperations(
                pb.ListOperationsRequest(), timeout=60
            ).operations
        ],
    }


def rows(seed=1):
    return (
        np.random.default_rng(seed).normal(0, 1, (100, 48)).astype(np.float32)
    )


def test_everything_is_there_after_a_restart(start_server):
    server = start_server()
    with Client(server.address) as client:
        client.upload_checkpoint("mlp", checkpoints.mlp())
        client.create_calibration("mlp", "mlp")
        client.upload_batches("mlp", [feature_inputs(rows())])
        client.quantize("mlp", "dynamic")
        client.quantize("mlp", "llm", "mlp", scheme=pb.SCHEME_LLM_INT8)
        client.quantize("mlp", "static", "mlp", scheme=pb.SCHEME_W8A8_STATIC)
        client.load("fp32", "checkpoints/mlp")
        for bundle in ("dynamic", "llm", "static"):
            client.load(bundle, f"bundles/{bundle}")
        client.load("temporary", "bundles/dynamic")
        client.unload("temporary")
        before = inventory(client)
        answers = {
            model: client.forward(model, feature_inputs(rows(2)))
            for model in ("fp32", "dynamic", "llm", "static")
        }
        calibration = client.get_calibration("mlp")
        reports = [client.report(b) for b in ("dynamic", "llm", "static")]
        tar = client.download_bundle("llm")
    assert len(before["models"]) == 4

    assert server.stop() == 0
    server.start()
    with Client(server.address) as client:
        assert inventory(client) == before
        for model, answer in answers.items():
            np.testing.assert_array_equal(
                client.forward(model, feature_inputs(rows(2))), answer, model
            )
        assert client.get_calibration("mlp") == calibration
        assert reports == [
            client.report(b) for b in ("dynamic", "llm", "static")
        ]
        assert client.download_bundle("llm") == tar
        # The calibration goes on where it was.
        client.upload_batches("mlp", [feature_inputs(rows(3))])
        assert client.get_calibration("mlp").sample_count == 200


def test_version_goes_up_over_a_restart(start_server):
    server = start_server()
    with Client(server.address) as client:
        client.upload_checkpoint("mlp", checkpoints.mlp())
        assert client.load("m", "checkpoints/mlp").version == 1
        assert client.load("m", "checkpoints/mlp").version == 2
    server.restart()
    with Client(server.address) as client:
        assert client.load("m", "checkpoints/mlp").version == 3


def rotten(server, damage):
    """Two bundles are loaded; the weights of one rot while the server is
    down."""
    with Client(server.address) as client:
        client.upload_checkpoint("mlp", checkpoints.mlp())
        for bundle in ("good", "rotten"):
            client.quantize("mlp", bundle)
            client.load(bundle, f"bundles/{bundle}")
    server.stop()
    weights = next(server.data_dir.rglob("rotten/model.safetensors"))
    data = damage(weights.read_bytes())
    weights.chmod(0o644)
    weights.write_bytes(data)
    server.start()


def test_server_starts_without_a_model_that_is_damaged(start_server):
    """A bundle that is cut short on disk is reported; the rest is served."""
    server = start_server()
    rotten(server, lambda data: data[:-1])
    with Client(server.address) as client:
        client.forward("good", feature_inputs(rows()))
        listed = client.models.ListModels(pb.ListModelsRequest()).models
        states = {m.name: m.state for m in listed}
        assert states == {
            "models/good": pb.MODEL_STATE_READY,
            "models/rotten": pb.MODEL_STATE_FAILED,
        }
        assert all(m.state_reason for m in listed if m.name == "models/rotten")
    assert "rotten" in server.log_text()


def test_a_flipped_bit_is_found_when_the_bundle_is_loaded(start_server):
    server = start_server()
    rotten(server, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    with Client(server.address) as client:
        with pytest.raises(grpc.RpcError) as refused:
            client.load("again", "bundles/rotten")
        assert refused.value.code() == grpc.StatusCode.DATA_LOSS
        assert "model.safetensors" in refused.value.details()
