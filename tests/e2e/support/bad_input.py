"""A call that must fail, and how: the tables of test_bad_*.py hold one in each
row."""

import dataclasses
import itertools
from collections.abc import Callable

import grpc
import numpy as np
import pytest

from support.api import error_details, pb
from support.client import Client
from support.errors import details_of

CODE = grpc.StatusCode
WEIGHTS = "model.safetensors"

_CASE = "case-"
_ids = itertools.count()


def fresh() -> str:
    """An id nobody used."""
    return f"{_CASE}{next(_ids)}"


@dataclasses.dataclass
class Case:
    id: str
    action: Callable[[Client], object]
    code: CODE
    # What the message must name, all of them, in any case.
    names: tuple[str, ...]
    # The BadRequest field violation that must be there; "" for none known.
    field: str = ""

    def __str__(self):
        return self.id

    def check(self, client, server):
        with pytest.raises(grpc.RpcError) as caught:
            self.action(client)
        error = caught.value
        message = error.details()
        assert error.code() == self.code, message
        for name in self.names:
            assert name.lower() in message.lower(), message
        if self.field:
            fields = violations(error)
            assert any(self.field in field for field in fields), message
        # Nobody outside should learn where the server keeps its files.
        assert str(server.data_dir) not in message


def violations(error):
    """Fields of the google.rpc.BadRequest that a failed call carries."""
    bad_request = details_of(error, error_details.BadRequest)
    violated = bad_request.field_violations if bad_request else ()
    return [violation.field for violation in violated]


def upload(files):
    return lambda client: client.upload_checkpoint(fresh(), files)


def rows_with(value, index=(1, 5), width=48):
    rows = np.ones((4, width), np.float32)
    rows[index] = value
    return rows


def assert_nothing_escaped(server):
    """Of the cases that would write a file "evil" outside of their folder."""
    assert not (server.data_dir.parent / "evil").exists()
    assert not list(server.data_dir.rglob("evil"))


def assert_nothing_stored(client):
    """No upload that was refused is a checkpoint. Those that broke off are kept
    to be resumed, with no more bytes than were announced."""
    checkpoints = client.checkpoints.ListCheckpoints(
        pb.ListCheckpointsRequest(), timeout=60
    ).checkpoints
    refused = [
        c for c in checkpoints if c.name.startswith(f"checkpoints/{_CASE}")
    ]
    for checkpoint in refused:
        assert checkpoint.state == pb.Checkpoint.STATE_UPLOADING, checkpoint
        for file in checkpoint.files:
            assert file.received_bytes <= file.size_bytes
