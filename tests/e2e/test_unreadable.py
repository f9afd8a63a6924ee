"""What is published and cannot be read any more: damaged by the disk, or of
another format version."""

import json
import subprocess

import grpc
import numpy as np
import pytest

from support import checkpoints
from support.api import pb
from support.client import Client, feature_inputs
from support.paths import binary

DAMAGED = grpc.StatusCode.DATA_LOSS
OLD = grpc.StatusCode.FAILED_PRECONDITION


@pytest.fixture(scope="module")
def unreadable(server, client):
    """Checkpoints "whole" and "cut", bundles "whole", "old" and "cut", and a
    calibration of "cut"."""
    for name in ("whole", "cut"):
        client.upload_checkpoint(name, checkpoints.mlp())
    client.create_calibration("cut", "cut")
    for name in ("whole", "old", "cut"):
        client.quantize("whole", name)
    weights = server.data_dir / "checkpoints/cut/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    old = server.data_dir / "bundles/old/octet.json"
    old.write_text(
        json.dumps(json.loads(old.read_text()) | {"format_version": 1})
    )
    cut = server.data_dir / "bundles/cut/octet.json"
    cut.write_bytes(cut.read_bytes()[:-10])
    return client


def fails(code, call, *words):
    with pytest.raises(grpc.RpcError) as error:
        call()
    assert error.value.code() == code, error.value.details()
    for word in words:
        assert word in error.value.details()


def test_they_are_listed_with_what_is_wrong(unreadable):
    bundles = {
        b.name: b
        for b in unreadable.bundles.ListBundles(
            pb.ListBundlesRequest(), timeout=60
        ).bundles
    }
    assert list(bundles) == ["bundles/cut", "bundles/old", "bundles/whole"]
    assert not bundles["bundles/whole"].problem
    assert "format_version" in bundles["bundles/old"].problem
    assert "damaged" in bundles["bundles/cut"].problem

    listed = {
        c.name: c
        for c in unreadable.checkpoints.ListCheckpoints(
            pb.ListCheckpointsRequest(), timeout=60
        ).checkpoints
    }
    assert list(listed) == ["checkpoints/cut", "checkpoints/whole"]
    cut = listed["checkpoints/cut"]
    assert cut.state == pb.Checkpoint.STATE_UNREADABLE
    assert "damaged" in cut.problem
    whole = listed["checkpoints/whole"]
    assert whole.state == pb.Checkpoint.STATE_ACTIVE
    assert not whole.problem


def test_another_format_version_is_a_failed_precondition(unreadable):
    get = pb.GetBundleRequest(name="bundles/old")
    for call in (
        lambda: unreadable.bundles.GetBundle(get, timeout=60),
        lambda: unreadable.report("old"),
        lambda: unreadable.render_report("old"),
        lambda: unreadable.load("m", "bundles/old"),
    ):
        fails(OLD, call, "format_version", "quantize the checkpoint again")


def test_damage_is_data_loss_and_not_the_callers_mistake(unreadable):
    get = pb.GetBundleRequest(name="bundles/cut")
    rows = feature_inputs(np.ones((2, 48), np.float32))
    for call in (
        lambda: unreadable.bundles.GetBundle(get, timeout=60),
        lambda: unreadable.report("cut"),
        lambda: unreadable.load("m", "bundles/cut"),
    ):
        fails(DAMAGED, call, "bundle 'cut' is damaged", "octet.json")
    for call in (
        lambda: unreadable.get_checkpoint("cut"),
        lambda: unreadable.load("m", "checkpoints/cut"),
        lambda: unreadable.start_quantization("cut", "new"),
        lambda: unreadable.create_calibration("new", "cut"),
        lambda: unreadable.upload_batches("cut", [rows]),
    ):
        fails(DAMAGED, call, "checkpoint 'cut' is damaged")


def test_the_command_shows_them(unreadable, server):
    def octet(*arguments):
        command = [binary("octet"), "--server", server.address, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout

    assert "bundles/old can not be read: " in octet("bundle", "list")
    out = octet("checkpoint", "list")
    assert "unreadable" in out
    assert "checkpoints/cut can not be read: " in out


def test_they_can_be_deleted(start_server):
    server = start_server()
    with Client(server.address) as client:
        client.upload_checkpoint("cut", checkpoints.mlp())
        weights = server.data_dir / "checkpoints/cut/model.safetensors"
        weights.write_bytes(b"")
        client.checkpoints.DeleteCheckpoint(
            pb.DeleteCheckpointRequest(name="checkpoints/cut"), timeout=60
        )
        client.upload_checkpoint("cut", checkpoints.mlp())
