"""Uploads that break their own rules, names that are none, and clients that
get in each other's way."""

import itertools

import grpc
import pytest

from support import checkpoints
from support.api import pb
from support.bad_input import (
    CODE,
    WEIGHTS,
    Case,
    assert_nothing_escaped,
    assert_nothing_stored,
    fresh,
)
from support.client import (
    chunks_of,
    crc32c,
    header_of,
    upload_messages,
)

MESSAGE_LIMIT = 8 << 20
SERVER_FLAGS = (f"--max-message-bytes={MESSAGE_LIMIT}",)


def stream(*make):
    """Uploads the messages that `make` gives for a fresh id."""

    def action(client):
        checkpoint_id = fresh()
        messages = [message for part in make for message in part(checkpoint_id)]
        return client.checkpoints.UploadCheckpoint(iter(messages), timeout=60)

    return action


def header(files, **options):
    return lambda checkpoint_id: [header_of(checkpoint_id, files, **options)]


def declared(*entries):
    """A header that declares files as given, whatever they hold."""
    return lambda checkpoint_id: [
        pb.UploadCheckpointRequest(
            header=pb.UploadCheckpointHeader(
                checkpoint_id=checkpoint_id,
                files=[pb.UploadedFile(**entry) for entry in entries],
            )
        )
    ]


def chunk(path, offset, data, crc=None):
    return lambda _: [
        pb.UploadCheckpointRequest(
            chunk=pb.FileChunk(
                path=path,
                offset=offset,
                data=data,
                crc32c=crc32c(data) if crc is None else crc,
            )
        )
    ]


GOOD = checkpoints.mlp()
BLOB = GOOD[WEIGHTS]
TINY = {"config.json": GOOD["config.json"], WEIGHTS: BLOB}

UPLOADS = [
    Case(
        "path-climbs-out",
        stream(declared({"path": "../evil", "size_bytes": 1})),
        CODE.INVALID_ARGUMENT,
        ("../evil",),
        "path",
    ),
    Case(
        "path-climbs-out-in-the-middle",
        stream(declared({"path": "a/../../evil", "size_bytes": 1})),
        CODE.INVALID_ARGUMENT,
        ("a/../../evil",),
        "path",
    ),
    Case(
        "path-is-absolute",
        stream(declared({"path": "/etc/passwd", "size_bytes": 1})),
        CODE.INVALID_ARGUMENT,
        ("/etc/passwd",),
        "path",
    ),
    Case(
        "path-is-empty",
        stream(declared({"path": "", "size_bytes": 1})),
        CODE.INVALID_ARGUMENT,
        ("path",),
        "path",
    ),
    Case(
        "path-has-a-nul",
        stream(declared({"path": "config\0.json", "size_bytes": 1})),
        CODE.INVALID_ARGUMENT,
        ("path",),
        "path",
    ),
    Case(
        "path-is-too-long",
        stream(declared({"path": "a" * 300, "size_bytes": 1})),
        CODE.INVALID_ARGUMENT,
        ("path",),
        "path",
    ),
    Case(
        "path-twice",
        stream(
            declared(
                {"path": "config.json", "size_bytes": 1},
                {"path": "config.json", "size_bytes": 1},
            )
        ),
        CODE.INVALID_ARGUMENT,
        ("config.json",),
    ),
    Case(
        "no-files",
        stream(declared()),
        CODE.INVALID_ARGUMENT,
        ("file",),
    ),
    Case(
        "too-many-files",
        stream(
            declared(*({"path": f"f{i}", "size_bytes": 1} for i in range(2000)))
        ),
        CODE.RESOURCE_EXHAUSTED,
        ("files",),
    ),
    Case(
        "file-too-large",
        stream(declared({"path": WEIGHTS, "size_bytes": 1 << 60})),
        CODE.RESOURCE_EXHAUSTED,
        ("bytes",),
    ),
    Case(
        "file-of-negative-size",
        stream(declared({"path": WEIGHTS, "size_bytes": -1})),
        CODE.INVALID_ARGUMENT,
        ("size_bytes",),
        "size_bytes",
    ),
    Case(
        "sha256-is-not-one",
        stream(declared({"path": WEIGHTS, "size_bytes": 4, "sha256": "xyz"})),
        CODE.INVALID_ARGUMENT,
        ("sha256",),
        "sha256",
    ),
    Case(
        "sha256-is-of-another-file",
        stream(
            declared(
                {"path": "config.json", "size_bytes": 2, "sha256": "0" * 64}
            ),
            chunk("config.json", 0, b"{}"),
        ),
        CODE.DATA_LOSS,
        ("config.json",),
    ),
    Case(
        "crc-is-wrong",
        stream(header(TINY), chunk("config.json", 0, b"{}", crc=12345)),
        CODE.DATA_LOSS,
        ("config.json", "crc32c"),
    ),
    Case(
        "chunk-leaves-a-gap",
        stream(header(TINY), chunk(WEIGHTS, 100, BLOB[100:200])),
        CODE.OUT_OF_RANGE,
        (WEIGHTS, "100"),
    ),
    Case(
        "chunk-comes-again",
        stream(
            header(TINY),
            chunk(WEIGHTS, 0, BLOB[:100]),
            chunk(WEIGHTS, 0, BLOB[:100]),
        ),
        CODE.OUT_OF_RANGE,
        (WEIGHTS, "100"),
    ),
    Case(
        "chunk-offset-negative",
        stream(header(TINY), chunk(WEIGHTS, -1, BLOB[:100])),
        CODE.OUT_OF_RANGE,
        ("offset",),
    ),
    Case(
        "chunk-beyond-the-declared-size",
        stream(
            declared({"path": "config.json", "size_bytes": 2}),
            chunk("config.json", 0, b"{    }"),
        ),
        CODE.OUT_OF_RANGE,
        ("config.json",),
    ),
    Case(
        "chunk-of-an-undeclared-file",
        stream(header(TINY), chunk("other.json", 0, b"{}")),
        CODE.NOT_FOUND,
        ("other.json",),
    ),
    Case(
        "chunk-larger-than-the-limit",
        stream(
            declared({"path": WEIGHTS, "size_bytes": 6 << 20}),
            chunk(WEIGHTS, 0, bytes(5 << 20)),
        ),
        CODE.INVALID_ARGUMENT,
        ("data",),
    ),
    Case(
        "message-larger-than-the-limit",
        stream(
            declared({"path": WEIGHTS, "size_bytes": 20 << 20}),
            chunk(WEIGHTS, 0, bytes(MESSAGE_LIMIT + 1)),
        ),
        CODE.RESOURCE_EXHAUSTED,
        ("message",),
    ),
    Case(
        "chunk-before-the-header",
        stream(chunk(WEIGHTS, 0, b"abcd")),
        CODE.INVALID_ARGUMENT,
        ("header",),
    ),
    Case(
        "header-twice",
        stream(header(TINY), header(TINY)),
        CODE.INVALID_ARGUMENT,
        ("header",),
    ),
    Case(
        "message-is-neither",
        stream(lambda _: [pb.UploadCheckpointRequest()]),
        CODE.INVALID_ARGUMENT,
        ("header",),
    ),
    Case("nothing-at-all", stream(), CODE.INVALID_ARGUMENT, ("header",)),
    Case(
        "stream-ends-early",
        stream(header(TINY), chunk(WEIGHTS, 0, BLOB[:100])),
        CODE.FAILED_PRECONDITION,
        ("bytes",),
    ),
]


def upload_as(checkpoint_id):
    return lambda client: client.upload_checkpoint(checkpoint_id, TINY)


IDS = [
    Case(
        f"checkpoint-id-{name}",
        upload_as(value),
        CODE.INVALID_ARGUMENT,
        ("checkpoint_id",),
        "checkpoint_id",
    )
    for name, value in (
        ("empty", ""),
        ("upper-case", "MiniLM"),
        ("climbs-out", "../x"),
        ("has-a-slash", "a/b"),
        ("starts-with-a-dash", "-a"),
        ("is-too-long", "a" * 64),
        ("hidden", ".staging"),
    )
] + [
    Case(
        "checkpoint-id-taken",
        upload_as("mlp"),
        CODE.ALREADY_EXISTS,
        ("mlp",),
    ),
    Case(
        "checkpoint-unknown",
        lambda client: client.get_checkpoint("nowhere"),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "name-without-collection",
        lambda client: client.checkpoints.GetCheckpoint(
            pb.GetCheckpointRequest(name="mlp"), timeout=60
        ),
        CODE.INVALID_ARGUMENT,
        ("name", "checkpoints/"),
        "name",
    ),
    Case(
        "name-of-another-collection",
        lambda client: client.bundles.GetBundle(
            pb.GetBundleRequest(name="checkpoints/mlp"), timeout=60
        ),
        CODE.INVALID_ARGUMENT,
        ("name", "bundles/"),
        "name",
    ),
    Case(
        "name-climbs-out",
        lambda client: client.checkpoints.DeleteCheckpoint(
            pb.DeleteCheckpointRequest(name="checkpoints/../bundles"),
            timeout=60,
        ),
        CODE.INVALID_ARGUMENT,
        ("name",),
        "name",
    ),
]


@pytest.mark.parametrize("case", UPLOADS + IDS, ids=str)
def test_a_bad_upload(prepared, server, still_serves, case):
    case.check(prepared, server)
    still_serves()


def test_nothing_was_stored(prepared):
    assert_nothing_stored(prepared)


def test_second_upload_of_one_id_is_aborted(prepared):
    """Two clients at once: one of them is told."""
    files = TINY
    messages = list(upload_messages("contested", files))

    def slowly():
        yield messages[0]
        # The server has the header once it shows the upload.
        while not any(
            c.name == "checkpoints/contested"
            for c in prepared.checkpoints.ListCheckpoints(
                pb.ListCheckpointsRequest(), timeout=60
            ).checkpoints
        ):
            pass
        with pytest.raises(grpc.RpcError) as refused:
            prepared.upload_checkpoint("contested", files)
        assert refused.value.code() == CODE.ABORTED
        yield from messages[1:]

    checkpoint = prepared.checkpoints.UploadCheckpoint(slowly(), timeout=60)
    assert checkpoint.state == pb.Checkpoint.STATE_ACTIVE


def test_names_are_not_taken_as_paths(server):
    assert_nothing_escaped(server)


def test_upload_resumes_where_the_server_says(prepared):
    files = checkpoints.mlp(seed=9)
    with pytest.raises(grpc.RpcError) as broken:
        prepared.checkpoints.UploadCheckpoint(
            itertools.chain(
                [header_of("resumed", files)],
                itertools.islice(
                    chunks_of(WEIGHTS, files[WEIGHTS], size=1000), 3
                ),
            ),
            timeout=60,
        )
    assert broken.value.code() == CODE.FAILED_PRECONDITION
    held = prepared.get_checkpoint("resumed")
    received = {file.path: file.received_bytes for file in held.files}
    assert received == {"config.json": 0, WEIGHTS: 3000}
    done = prepared.upload_checkpoint("resumed", files, received=received)
    assert done.state == pb.Checkpoint.STATE_ACTIVE
