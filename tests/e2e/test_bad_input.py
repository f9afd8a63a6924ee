"""What callers get wrong, and what strangers try: each gets the right
canonical code and a message that names the culprit, and the server goes on
serving. One row of a table is one case."""

import dataclasses
import itertools
import json
import struct
import tarfile
from collections.abc import Callable

import grpc
import numpy as np
import pytest

from support import archives, checkpoints
from support.api import error_details, pb, rpc_status
from support.checkpoints import (
    BERT,
    MLP,
    json_bytes,
    raw_safetensors,
    safetensors_bytes,
)
from support.client import (
    Client,
    chunks_of,
    crc32c,
    feature_inputs,
    header_of,
    tensor,
    token_inputs,
    upload_messages,
)

CODE = grpc.StatusCode
MESSAGE_LIMIT = 8 << 20

_ids = itertools.count()


def fresh() -> str:
    """An id nobody used."""
    return f"case-{next(_ids)}"


@dataclasses.dataclass
class Case:
    id: str
    action: Callable[[Client], object]
    code: CODE
    # What the message must name, all of them, in any case.
    names: tuple[str, ...]
    # The BadRequest field violation that must be there; "" for none known.
    field: str = ""


# ---------------------------------------------------------------------------
# Checkpoints


def upload(files):
    return lambda client: client.upload_checkpoint(fresh(), files)


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


def with_tensors(blob: bytes):
    return upload({"config.json": json_bytes(MLP), "model.safetensors": blob})


def with_config(config, files=checkpoints.mlp):
    text = config if isinstance(config, bytes) else json_bytes(config)
    return upload(files() | {"config.json": text})


def bert_config(**changes):
    return with_config(BERT | changes, checkpoints.bert)


def f32(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


W = "model.safetensors"
GOOD = checkpoints.mlp()
BLOB = GOOD[W]


def mlp_with(**changes):
    """The mlp's tensors, some replaced; None takes one away."""
    tensors = checkpoints.mlp_tensors()
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    return with_tensors(safetensors_bytes(tensors))


def spoiled(value):
    """fc1's weight with a bad element 161, which is [3, 17]."""
    weight = checkpoints.mlp_tensors()["fc1.weight"].copy()
    weight[3, 17] = value
    return weight


two = {
    "fc1.weight": f32([2, 2], 0, 16),
    "fc1.bias": f32([2], 16, 24),
}

SAFETENSORS = [
    Case("empty-file", with_tensors(b""), CODE.INVALID_ARGUMENT, (W,)),
    Case(
        "shorter-than-its-length-field",
        with_tensors(b"\x01\x02\x03"),
        CODE.INVALID_ARGUMENT,
        (W,),
    ),
    Case(
        "truncated-header",
        with_tensors(BLOB[:40]),
        CODE.INVALID_ARGUMENT,
        (W, "header"),
    ),
    Case(
        "truncated-data",
        with_tensors(BLOB[:-4]),
        CODE.INVALID_ARGUMENT,
        (W, "fc"),
    ),
    Case(
        "bytes-after-the-data",
        with_tensors(BLOB + b"\0" * 16),
        CODE.INVALID_ARGUMENT,
        (W,),
    ),
    Case(
        "header-length-beyond-the-file",
        with_tensors(raw_safetensors(b"{}", b"", 1 << 20)),
        CODE.INVALID_ARGUMENT,
        (W, "header"),
    ),
    Case(
        "header-length-of-all-ones",
        with_tensors(raw_safetensors(b"{}", b"", (1 << 64) - 1)),
        CODE.INVALID_ARGUMENT,
        (W, "header"),
    ),
    Case(
        "header-longer-than-the-format-allows",
        with_tensors(struct.pack("<Q", 100_000_001) + b"{" + b" " * 1000),
        CODE.INVALID_ARGUMENT,
        (W, "header"),
    ),
    Case(
        "header-is-not-json",
        with_tensors(raw_safetensors(b"{not json}", b"")),
        CODE.INVALID_ARGUMENT,
        (W,),
    ),
    Case(
        "header-is-an-array",
        with_tensors(raw_safetensors(b"[1, 2]", b"")),
        CODE.INVALID_ARGUMENT,
        (W,),
    ),
    Case(
        "header-is-nested-deeply",
        with_tensors(raw_safetensors(b'{"fc1.weight":' + b"[" * 200_000, b"")),
        CODE.INVALID_ARGUMENT,
        (W,),
    ),
    Case(
        "overlapping-tensors",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([2], 12, 20)}, bytes(20))
        ),
        CODE.INVALID_ARGUMENT,
        (W, "fc1.bias"),
    ),
    Case(
        "hole-between-tensors",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([2], 20, 28)}, bytes(28))
        ),
        CODE.INVALID_ARGUMENT,
        (W, "fc1.bias"),
    ),
    Case(
        "tensor-beyond-the-file",
        with_tensors(
            raw_safetensors(
                two | {"fc1.bias": f32([1 << 40], 16, 16 + (4 << 40))},
                bytes(24),
            )
        ),
        CODE.INVALID_ARGUMENT,
        (W, "fc1.bias"),
    ),
    Case(
        "end-before-begin",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([2], 24, 16)}, bytes(24))
        ),
        CODE.INVALID_ARGUMENT,
        (W, "fc1.bias"),
    ),
    Case(
        "negative-offset",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([2], -8, 0)}, bytes(24))
        ),
        CODE.INVALID_ARGUMENT,
        (W, "fc1.bias"),
    ),
    Case(
        "shape-does-not-fill-the-offsets",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([3], 16, 24)}, bytes(24))
        ),
        CODE.INVALID_ARGUMENT,
        (W, "fc1.bias"),
    ),
    Case(
        "shape-overflows",
        with_tensors(
            raw_safetensors(
                two | {"fc1.bias": f32([1 << 33, 1 << 33], 16, 24)}, bytes(24)
            )
        ),
        CODE.INVALID_ARGUMENT,
        (W, "fc1.bias"),
    ),
    Case(
        "negative-extent",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([-2], 16, 24)}, bytes(24))
        ),
        CODE.INVALID_ARGUMENT,
        (W, "fc1.bias"),
    ),
    Case(
        "unknown-type",
        with_tensors(
            raw_safetensors(
                two | {"fc1.bias": f32([2], 16, 24, "F31")}, bytes(24)
            )
        ),
        CODE.INVALID_ARGUMENT,
        (W, "fc1.bias", "F31"),
    ),
    Case(
        "type-is-a-number",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([2], 16, 24, 32)}, bytes(24))
        ),
        CODE.INVALID_ARGUMENT,
        (W, "fc1.bias"),
    ),
    Case(
        "name-twice",
        with_tensors(
            raw_safetensors(
                b'{"fc1.bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                b'"fc1.bias":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
                bytes(8),
            )
        ),
        CODE.INVALID_ARGUMENT,
        (W, "fc1.bias"),
    ),
    Case(
        "offsets-missing",
        with_tensors(
            raw_safetensors(
                {"fc1.weight": {"dtype": "F32", "shape": [1]}}, bytes(4)
            )
        ),
        CODE.INVALID_ARGUMENT,
        (W, "fc1.weight"),
    ),
    Case(
        "weight-missing",
        mlp_with(fc2__weight=None),
        CODE.INVALID_ARGUMENT,
        ("fc2.weight",),
    ),
    Case(
        "weight-has-three-dimensions",
        mlp_with(fc1__weight=np.zeros((4, 4, 4), np.float32)),
        CODE.INVALID_ARGUMENT,
        ("fc1.weight",),
    ),
    Case(
        "widths-do-not-chain",
        mlp_with(fc2__weight=np.zeros((16, 65), np.float32)),
        CODE.INVALID_ARGUMENT,
        ("fc2", "65", "64"),
    ),
    Case(
        "bias-of-another-length",
        mlp_with(fc1__bias=np.zeros(63, np.float32)),
        CODE.INVALID_ARGUMENT,
        ("fc1.bias", "63"),
    ),
    Case(
        "weight-of-integers",
        mlp_with(fc1__weight=np.zeros((64, 48), np.int32)),
        CODE.INVALID_ARGUMENT,
        ("fc1.weight", "I32"),
    ),
    Case(
        "weight-of-doubles",
        mlp_with(fc1__weight=np.zeros((64, 48), np.float64)),
        CODE.INVALID_ARGUMENT,
        ("fc1.weight", "F64"),
    ),
    Case(
        "int8-weight-without-scale",
        mlp_with(fc1__weight=np.zeros((64, 48), np.int8)),
        CODE.INVALID_ARGUMENT,
        ("fc1.weight_scale",),
    ),
    Case(
        "nan-in-a-weight",
        mlp_with(fc1__weight=spoiled(np.nan)),
        CODE.INVALID_ARGUMENT,
        ("fc1.weight", "161"),
    ),
    Case(
        "infinity-in-a-weight",
        mlp_with(fc1__weight=spoiled(-np.inf)),
        CODE.INVALID_ARGUMENT,
        ("fc1.weight", "161"),
    ),
]

CONFIG = [
    Case(
        "config-is-not-json",
        with_config(b"{'model_type': mlp}"),
        CODE.INVALID_ARGUMENT,
        ("config.json",),
    ),
    Case(
        "config-is-an-array",
        with_config(b"[]"),
        CODE.INVALID_ARGUMENT,
        ("config.json",),
    ),
    Case(
        "config-is-nested-deeply",
        with_config(b'{"model_type":' + b"[" * 100_000),
        CODE.INVALID_ARGUMENT,
        ("config.json",),
    ),
    Case(
        "config-is-binary",
        with_config(bytes(range(256))),
        CODE.INVALID_ARGUMENT,
        ("config.json",),
    ),
    Case(
        "family-unknown",
        with_config({"model_type": "gpt_17"}),
        CODE.UNIMPLEMENTED,
        ("config.json", "model_type", "gpt_17"),
    ),
    Case(
        "family-is-a-number",
        with_config({"model_type": 3}),
        CODE.INVALID_ARGUMENT,
        ("config.json", "model_type"),
    ),
    Case(
        "layers-is-a-string",
        with_config(MLP | {"layers": "fc1"}),
        CODE.INVALID_ARGUMENT,
        ("config.json", "layers"),
    ),
    Case(
        "layers-holds-a-number",
        with_config(MLP | {"layers": ["fc1", 2]}),
        CODE.INVALID_ARGUMENT,
        ("config.json", "layers", "index 1"),
    ),
    Case(
        "layers-is-empty",
        with_config(MLP | {"layers": []}),
        CODE.INVALID_ARGUMENT,
        ("config.json", "layers"),
    ),
    Case(
        "layer-twice",
        with_config(MLP | {"layers": ["fc1", "fc1"]}),
        CODE.INVALID_ARGUMENT,
        ("config.json", "layers", "fc1"),
    ),
    Case(
        "activation-unknown",
        with_config(MLP | {"hidden_act": "jelu"}),
        CODE.INVALID_ARGUMENT,
        ("config.json", "hidden_act", "jelu"),
    ),
    Case(
        "hidden-size-negative",
        bert_config(hidden_size=-32),
        CODE.INVALID_ARGUMENT,
        ("config.json", "hidden_size", "-32"),
    ),
    Case(
        "hidden-size-fractional",
        bert_config(hidden_size=32.5),
        CODE.INVALID_ARGUMENT,
        ("config.json", "hidden_size", "32.5"),
    ),
    Case(
        "layer-count-huge",
        bert_config(num_hidden_layers=10**18),
        CODE.INVALID_ARGUMENT,
        ("config.json", "num_hidden_layers"),
    ),
    Case(
        "layer-count-beyond-64-bits",
        bert_config(num_hidden_layers=10**30),
        CODE.INVALID_ARGUMENT,
        ("config.json", "num_hidden_layers"),
    ),
    Case(
        "no-heads",
        bert_config(num_attention_heads=0),
        CODE.INVALID_ARGUMENT,
        ("config.json", "num_attention_heads"),
    ),
    Case(
        "heads-do-not-divide",
        bert_config(num_attention_heads=5),
        CODE.INVALID_ARGUMENT,
        ("config.json", "num_attention_heads", "5"),
    ),
    Case(
        "epsilon-is-text",
        bert_config(layer_norm_eps="small"),
        CODE.INVALID_ARGUMENT,
        ("config.json", "layer_norm_eps"),
    ),
    Case(
        "vocabulary-is-not-the-table",
        bert_config(vocab_size=51),
        CODE.INVALID_ARGUMENT,
        ("embeddings.word_embeddings.weight", "51"),
    ),
    Case(
        "more-layers-than-tensors",
        bert_config(num_hidden_layers=3),
        CODE.INVALID_ARGUMENT,
        ("encoder.layer.2.",),
    ),
    Case(
        "relative-positions",
        bert_config(position_embedding_type="relative_key"),
        CODE.UNIMPLEMENTED,
        ("position_embedding_type", "relative_key"),
    ),
]

TINY = {"config.json": GOOD["config.json"], W: BLOB}

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
        stream(declared({"path": W, "size_bytes": 1 << 60})),
        CODE.RESOURCE_EXHAUSTED,
        ("bytes",),
    ),
    Case(
        "file-of-negative-size",
        stream(declared({"path": W, "size_bytes": -1})),
        CODE.INVALID_ARGUMENT,
        ("size_bytes",),
        "size_bytes",
    ),
    Case(
        "sha256-is-not-one",
        stream(declared({"path": W, "size_bytes": 4, "sha256": "xyz"})),
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
        stream(header(TINY), chunk(W, 100, BLOB[100:200])),
        CODE.OUT_OF_RANGE,
        (W, "100"),
    ),
    Case(
        "chunk-comes-again",
        stream(header(TINY), chunk(W, 0, BLOB[:100]), chunk(W, 0, BLOB[:100])),
        CODE.OUT_OF_RANGE,
        (W, "100"),
    ),
    Case(
        "chunk-offset-negative",
        stream(header(TINY), chunk(W, -1, BLOB[:100])),
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
            declared({"path": W, "size_bytes": 6 << 20}),
            chunk(W, 0, bytes(5 << 20)),
        ),
        CODE.INVALID_ARGUMENT,
        ("data",),
    ),
    Case(
        "message-larger-than-the-limit",
        stream(
            declared({"path": W, "size_bytes": 20 << 20}),
            chunk(W, 0, bytes(MESSAGE_LIMIT + 1)),
        ),
        CODE.RESOURCE_EXHAUSTED,
        ("message",),
    ),
    Case(
        "chunk-before-the-header",
        stream(chunk(W, 0, b"abcd")),
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
        stream(header(TINY), chunk(W, 0, BLOB[:100])),
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

# ---------------------------------------------------------------------------
# Calibrations


def calibrate(model, *batches):
    def action(client):
        name = fresh()
        client.create_calibration(name, model)
        return client.upload_batches(name, batches)

    return action


def rows_with(value, index=(1, 5), width=48):
    rows = np.ones((4, width), np.float32)
    rows[index] = value
    return rows


def activations(layer, rows):
    return pb.NamedActivations(
        layer=layer, rows=rows if isinstance(rows, pb.Tensor) else tensor(rows)
    )


def after_good_batches(bad):
    """Two good batches, then a bad one: it is refused with its index, and what
    came before stays."""

    def action(client):
        name = fresh()
        client.create_calibration(name, "mlp")
        good = feature_inputs(np.ones((3, 48), np.float32))
        try:
            client.upload_batches(name, [good, good, bad])
        finally:
            calibration = client.get_calibration(name)
            assert calibration.batch_count == 2
            assert calibration.sample_count == 6

    return action


CALIBRATION = [
    Case(
        "calibration-of-nothing",
        lambda client: client.create_calibration(fresh(), "nowhere"),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "calibration-id-bad",
        lambda client: client.create_calibration("A/../B", "mlp"),
        CODE.INVALID_ARGUMENT,
        ("calibration_id",),
        "calibration_id",
    ),
    Case(
        "calibration-id-taken",
        lambda client: client.create_calibration("mlp", "mlp"),
        CODE.ALREADY_EXISTS,
        ("mlp",),
    ),
    Case(
        "calibration-unknown",
        lambda client: client.upload_batches(
            "nowhere", [feature_inputs(np.ones((1, 48)))]
        ),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "calibration-stream-empty",
        lambda client: client.upload_batches("mlp", []),
        CODE.INVALID_ARGUMENT,
        ("calibration",),
    ),
    Case(
        "batch-empty",
        calibrate("mlp", pb.ModelInputs()),
        CODE.INVALID_ARGUMENT,
        ("batches[0]",),
    ),
    Case(
        "batch-of-no-rows",
        calibrate("mlp", feature_inputs(np.zeros((0, 48)))),
        CODE.INVALID_ARGUMENT,
        ("batches[0]",),
    ),
    Case(
        "batch-of-no-tokens",
        calibrate("bert", token_inputs([])),
        CODE.INVALID_ARGUMENT,
        ("batches[0]", "tokens"),
    ),
    Case(
        "batch-of-the-wrong-kind",
        calibrate("mlp", token_inputs([[1, 2]])),
        CODE.INVALID_ARGUMENT,
        ("batches[0]", "features"),
    ),
    Case(
        "batch-with-nan",
        after_good_batches(feature_inputs(rows_with(np.nan))),
        CODE.INVALID_ARGUMENT,
        ("batches[2].features[1][5]",),
    ),
    Case(
        "batch-with-infinity",
        after_good_batches(feature_inputs(rows_with(np.inf))),
        CODE.INVALID_ARGUMENT,
        ("batches[2].features[1][5]",),
    ),
    Case(
        "batch-of-another-width",
        after_good_batches(feature_inputs(np.ones((2, 47)))),
        CODE.INVALID_ARGUMENT,
        ("batches[2]", "47", "48"),
    ),
    Case(
        "batch-token-out-of-vocabulary",
        calibrate("bert", token_inputs([[1, 2]]), token_inputs([[3, 4, 50]])),
        CODE.INVALID_ARGUMENT,
        ("batches[1].tokens.ids[2]", "50"),
    ),
    Case(
        "activations-of-an-unknown-layer",
        calibrate("mlp", activations("fc9", np.ones((2, 48)))),
        CODE.NOT_FOUND,
        ("fc9",),
    ),
    Case(
        "activations-of-another-width",
        calibrate("mlp", activations("fc1", np.ones((2, 49)))),
        CODE.INVALID_ARGUMENT,
        ("batches[0]", "49", "48"),
    ),
    Case(
        "activations-with-nan",
        calibrate("mlp", activations("fc1", rows_with(np.nan))),
        CODE.INVALID_ARGUMENT,
        ("batches[0]", "[1, 5]"),
    ),
    Case(
        "merge-with-itself",
        lambda client: client.calibrations.MergeCalibrations(
            pb.MergeCalibrationsRequest(
                into="calibrations/mlp", **{"from": ["calibrations/mlp"]}
            ),
            timeout=60,
        ),
        CODE.INVALID_ARGUMENT,
        ("from",),
    ),
    Case(
        "merge-of-different-checkpoints",
        lambda client: client.calibrations.MergeCalibrations(
            pb.MergeCalibrationsRequest(
                into="calibrations/mlp", **{"from": ["calibrations/bert"]}
            ),
            timeout=60,
        ),
        CODE.INVALID_ARGUMENT,
        ("checkpoint",),
    ),
]

# ---------------------------------------------------------------------------
# Quantization and bundles


def quantize(checkpoint="mlp", calibration="", bundle=None, **spec):
    """The request itself must fail, not the operation."""
    return lambda client: client.start_quantization(
        checkpoint, bundle or fresh(), calibration, **spec
    )


def bundle_archive(change):
    return lambda client: client.upload_bundle(
        fresh(), change(client.download_bundle("mlp-int8"))
    )


def upload_bundle_stream(*messages):
    return lambda client: client.bundles.UploadBundle(
        iter([message() for message in messages]), timeout=60
    )


def bundle_header():
    return pb.UploadBundleRequest(
        header=pb.UploadBundleHeader(bundle_id=fresh())
    )


def bundle_chunk(offset=0, data=b"x" * 512, crc=None):
    return lambda: pb.UploadBundleRequest(
        chunk=pb.BundleChunk(
            offset=offset,
            data=data,
            crc32c=crc32c(data) if crc is None else crc,
        )
    )


def edit_manifest(change):
    """The bundle with its octet.json changed."""

    def edit(tar):
        entries = []
        for info, data in archives.members(tar):
            if info.name.endswith("octet.json"):
                data = change(json.loads(data))
            entries.append((info, data))
        return archives.pack(entries)

    return bundle_archive(edit)


QUANTIZATION = [
    Case(
        "quantize-nothing",
        quantize("nowhere"),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "quantize-without-calibration-static",
        quantize(scheme=pb.SCHEME_W8A8_STATIC),
        CODE.FAILED_PRECONDITION,
        ("calibration",),
    ),
    Case(
        "quantize-without-calibration-llm-int8",
        quantize(scheme=pb.SCHEME_LLM_INT8),
        CODE.FAILED_PRECONDITION,
        ("calibration",),
    ),
    Case(
        "quantize-with-an-unknown-calibration",
        quantize(calibration="nowhere"),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "quantize-with-the-calibration-of-another",
        quantize(calibration="bert"),
        CODE.INVALID_ARGUMENT,
        ("calibration",),
    ),
    Case(
        "quantize-include-matches-nothing",
        quantize(include=["fc1", "encoder.*"]),
        CODE.INVALID_ARGUMENT,
        ("include", "encoder.*"),
    ),
    Case(
        "quantize-exclude-matches-nothing",
        quantize(exclude=["lm_head"]),
        CODE.INVALID_ARGUMENT,
        ("exclude", "lm_head"),
    ),
    Case(
        "quantize-override-matches-nothing",
        quantize(
            overrides=[pb.SchemeOverride(pattern="x", scheme=pb.SCHEME_FP32)]
        ),
        CODE.INVALID_ARGUMENT,
        ("overrides", "x"),
    ),
    Case(
        "quantize-scheme-unknown",
        quantize(scheme=77),
        CODE.INVALID_ARGUMENT,
        ("scheme",),
    ),
    Case(
        "quantize-float-scheme-is-int8",
        quantize(float_scheme=pb.SCHEME_LLM_INT8),
        CODE.INVALID_ARGUMENT,
        ("float_scheme",),
    ),
    *(
        Case(
            f"quantize-threshold-{name}",
            quantize(
                calibration="mlp",
                scheme=pb.SCHEME_LLM_INT8,
                outlier_threshold=value,
            ),
            CODE.INVALID_ARGUMENT,
            ("outlier_threshold",),
        )
        for name, value in (
            ("negative", -6.0),
            ("nan", float("nan")),
            ("infinite", float("inf")),
        )
    ),
    Case(
        "quantize-outlier-rule-unknown",
        quantize(calibration="mlp", scheme=pb.SCHEME_LLM_INT8, outlier_rule=9),
        CODE.INVALID_ARGUMENT,
        ("outlier_rule",),
    ),
    Case(
        "quantize-bundle-id-bad",
        quantize(bundle="Bundle"),
        CODE.INVALID_ARGUMENT,
        ("bundle_id",),
        "bundle_id",
    ),
    Case(
        "quantize-bundle-id-taken",
        quantize(bundle="mlp-int8"),
        CODE.ALREADY_EXISTS,
        ("mlp-int8",),
    ),
    Case(
        "operation-unknown",
        lambda client: list(client.watch("operations/nowhere")),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "cancel-what-is-done",
        lambda client: client.quantization.CancelOperation(
            pb.CancelOperationRequest(
                name=client.quantize("mlp", fresh()).name
            ),
            timeout=60,
        ),
        CODE.FAILED_PRECONDITION,
        ("operation",),
    ),
    Case(
        "delete-a-bundle-in-use",
        lambda client: client.delete_bundle("mlp-int8"),
        CODE.FAILED_PRECONDITION,
        ("mlp-int8",),
    ),
    Case(
        "report-of-nothing",
        lambda client: client.report("nowhere"),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "download-of-nothing",
        lambda client: client.download_bundle("nowhere"),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
]

BUNDLES = [
    Case(
        "bundle-truncated",
        bundle_archive(lambda tar: tar[: len(tar) // 2]),
        CODE.INVALID_ARGUMENT,
        ("archive",),
    ),
    Case(
        "bundle-is-no-tar",
        bundle_archive(lambda _: b"hello" * 1000),
        CODE.INVALID_ARGUMENT,
        ("archive",),
    ),
    Case(
        "bundle-climbs-out",
        bundle_archive(lambda tar: archives.with_file(tar, "../evil", b"x")),
        CODE.INVALID_ARGUMENT,
        ("../evil",),
    ),
    Case(
        "bundle-path-absolute",
        bundle_archive(lambda tar: archives.with_file(tar, "/tmp/e", b"x")),
        CODE.INVALID_ARGUMENT,
        ("/tmp/e",),
    ),
    Case(
        "bundle-symbolic-link",
        bundle_archive(
            lambda tar: archives.with_link(
                tar, "a.json", "/etc/passwd", tarfile.SYMTYPE
            )
        ),
        CODE.INVALID_ARGUMENT,
        ("a.json",),
    ),
    Case(
        "bundle-hard-link",
        bundle_archive(
            lambda tar: archives.with_link(
                tar, "a.json", "config.json", tarfile.LNKTYPE
            )
        ),
        CODE.INVALID_ARGUMENT,
        ("a.json",),
    ),
    Case(
        "bundle-device",
        bundle_archive(
            lambda tar: archives.with_link(tar, "null", "", tarfile.CHRTYPE)
        ),
        CODE.INVALID_ARGUMENT,
        ("null",),
    ),
    Case(
        "bundle-file-twice",
        bundle_archive(
            lambda tar: archives.with_file(tar, "config.json", b"{}")
        ),
        CODE.INVALID_ARGUMENT,
        ("config.json",),
    ),
    Case(
        "bundle-with-a-file-nobody-declared",
        bundle_archive(lambda tar: archives.with_file(tar, "extra.json", b"1")),
        CODE.DATA_LOSS,
        ("extra.json",),
    ),
    Case(
        "bundle-without-manifest",
        bundle_archive(lambda tar: archives.without(tar, "octet.json")),
        CODE.INVALID_ARGUMENT,
        ("octet.json",),
    ),
    Case(
        "bundle-without-weights",
        bundle_archive(lambda tar: archives.without(tar, W)),
        CODE.DATA_LOSS,
        (W,),
    ),
    Case(
        "bundle-bit-flipped",
        bundle_archive(lambda tar: archives.with_flipped_bit(tar, W)),
        CODE.DATA_LOSS,
        (W,),
    ),
    Case(
        "bundle-manifest-is-not-json",
        edit_manifest(lambda _: b"{"),
        CODE.INVALID_ARGUMENT,
        ("octet.json",),
    ),
    Case(
        "bundle-manifest-of-the-future",
        edit_manifest(lambda m: json_bytes(m | {"format_version": 999})),
        CODE.INVALID_ARGUMENT,
        ("octet.json", "format_version"),
    ),
    Case(
        "bundle-manifest-nested-deeply",
        edit_manifest(lambda _: b'{"files":' + b"[" * 100_000),
        CODE.INVALID_ARGUMENT,
        ("octet.json",),
    ),
    Case(
        "bundle-chunk-leaves-a-gap",
        upload_bundle_stream(bundle_header, bundle_chunk(offset=512)),
        CODE.OUT_OF_RANGE,
        ("offset", "512"),
    ),
    Case(
        "bundle-crc-is-wrong",
        upload_bundle_stream(bundle_header, bundle_chunk(crc=1)),
        CODE.DATA_LOSS,
        ("crc32c",),
    ),
    Case(
        "bundle-chunk-before-the-header",
        upload_bundle_stream(bundle_chunk()),
        CODE.INVALID_ARGUMENT,
        ("header",),
    ),
    Case(
        "bundle-id-taken",
        lambda client: client.upload_bundle(
            "mlp-int8", client.download_bundle("mlp-int8")
        ),
        CODE.ALREADY_EXISTS,
        ("mlp-int8",),
    ),
]

# ---------------------------------------------------------------------------
# Models and inference


def forward(model, inputs, **options):
    return lambda client: client.forward_response(model, inputs, **options)


def matmul(x, model="mlp-int8", layer="fc1", **options):
    return lambda client: client.matmul(model, layer, x, **options)


def raw(shape, data, dtype=pb.DATA_TYPE_F32):
    return pb.Tensor(type=dtype, shape=shape, data=data)


def tokens(ids, lengths):
    return pb.ModelInputs(tokens=pb.TokenBatch(ids=ids, lengths=lengths))


MODELS = [
    Case(
        "load-nothing",
        lambda client: client.load(fresh(), "bundles/nowhere"),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "load-from-no-collection",
        lambda client: client.load(fresh(), "mlp-int8"),
        CODE.INVALID_ARGUMENT,
        ("source",),
        "source",
    ),
    Case(
        "load-climbs-out",
        lambda client: client.load(fresh(), "bundles/../checkpoints/mlp"),
        CODE.INVALID_ARGUMENT,
        ("source",),
        "source",
    ),
    Case(
        "load-under-a-bad-id",
        lambda client: client.load("A b", "bundles/mlp-int8"),
        CODE.INVALID_ARGUMENT,
        ("model_id",),
        "model_id",
    ),
    Case(
        "unload-what-is-not-loaded",
        lambda client: client.unload("nowhere"),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "statistics-of-nothing",
        lambda client: client.models.GetModelStats(
            pb.GetModelStatsRequest(name="models/nowhere"), timeout=60
        ),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
]

INFERENCE = [
    Case(
        "forward-of-nothing",
        forward("nowhere", token_inputs([[1]])),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "forward-without-inputs",
        forward("bert", pb.ModelInputs()),
        CODE.INVALID_ARGUMENT,
        ("inputs",),
        "inputs",
    ),
    Case(
        "forward-features-to-a-token-model",
        forward("bert", feature_inputs(np.ones((1, 32)))),
        CODE.INVALID_ARGUMENT,
        ("inputs", "tokens"),
    ),
    Case(
        "forward-tokens-to-a-feature-model",
        forward("mlp", token_inputs([[1]])),
        CODE.INVALID_ARGUMENT,
        ("inputs", "features"),
    ),
    Case(
        "token-out-of-vocabulary",
        forward("bert", token_inputs([[1, 2], [3, 50]])),
        CODE.INVALID_ARGUMENT,
        ("tokens.ids[3]", "50"),
        "ids[3]",
    ),
    Case(
        "token-negative",
        forward("bert-int8", token_inputs([[1, -1]])),
        CODE.INVALID_ARGUMENT,
        ("tokens.ids[1]", "-1"),
        "ids[1]",
    ),
    Case(
        "token-is-the-largest-int32",
        forward("bert-int8", token_inputs([[2**31 - 1]])),
        CODE.INVALID_ARGUMENT,
        ("tokens.ids[0]",),
        "ids[0]",
    ),
    Case(
        "lengths-too-short",
        forward("bert", tokens([1, 2, 3], [1, 1])),
        CODE.INVALID_ARGUMENT,
        ("lengths",),
        "lengths",
    ),
    Case(
        "lengths-too-long",
        forward("bert", tokens([1, 2, 3], [2, 2])),
        CODE.INVALID_ARGUMENT,
        ("lengths",),
        "lengths",
    ),
    Case(
        "length-zero",
        forward("bert", tokens([1, 2], [0, 2])),
        CODE.INVALID_ARGUMENT,
        ("lengths[0]",),
        "lengths[0]",
    ),
    Case(
        "length-negative",
        forward("bert", tokens([1, 2], [3, -1])),
        CODE.INVALID_ARGUMENT,
        ("lengths[1]", "-1"),
        "lengths[1]",
    ),
    Case(
        "lengths-that-overflow",
        forward("bert", tokens([1, 2], [2**31 - 1, 2**31 - 1, 4])),
        CODE.INVALID_ARGUMENT,
        ("lengths",),
        "lengths",
    ),
    Case(
        "sequence-too-long",
        forward("bert", token_inputs([[1], [1] * 25])),
        CODE.INVALID_ARGUMENT,
        ("lengths[1]", "25", "24"),
        "lengths[1]",
    ),
    Case(
        "forward-of-no-sequences",
        forward("bert", token_inputs([])),
        CODE.INVALID_ARGUMENT,
        ("tokens",),
    ),
    Case(
        "features-of-another-width",
        forward("mlp", feature_inputs(np.ones((2, 47)))),
        CODE.INVALID_ARGUMENT,
        ("features", "47", "48"),
        "features",
    ),
    Case(
        "features-with-nan",
        forward("mlp-int8", feature_inputs(rows_with(np.nan))),
        CODE.INVALID_ARGUMENT,
        ("inputs.features[1][5]",),
        "features[1][5]",
    ),
    Case(
        "output-kind-unknown",
        forward("bert", token_inputs([[1]]), output=17),
        CODE.INVALID_ARGUMENT,
        ("output",),
        "output",
    ),
    Case(
        "output-type-of-integers",
        forward("bert", token_inputs([[1]]), output_type=pb.DATA_TYPE_I32),
        CODE.INVALID_ARGUMENT,
        ("output_type",),
        "output_type",
    ),
    Case(
        "hidden-states-of-a-feature-model",
        forward(
            "mlp",
            feature_inputs(np.ones((1, 48))),
            output=pb.OUTPUT_KIND_HIDDEN_STATES,
        ),
        CODE.FAILED_PRECONDITION,
        ("output",),
    ),
    Case(
        "matmul-of-an-unknown-layer",
        matmul(np.ones((1, 48)), layer="fc7"),
        CODE.NOT_FOUND,
        ("fc7",),
    ),
    Case(
        "matmul-with-the-wrong-k",
        matmul(np.ones((2, 64))),
        CODE.INVALID_ARGUMENT,
        ("x", "64", "48"),
        "x",
    ),
    Case(
        "matmul-with-nan",
        matmul(rows_with(np.nan)),
        CODE.INVALID_ARGUMENT,
        ("x[1][5]: ",),
        "x[1][5]",
    ),
    Case(
        "matmul-with-infinity-fp32",
        matmul(rows_with(-np.inf), model="mlp"),
        CODE.INVALID_ARGUMENT,
        ("x[1][5]: ",),
        "x[1][5]",
    ),
    Case(
        "matmul-with-nan-in-half",
        matmul(
            raw(
                [4, 48],
                rows_with(np.nan).astype(np.float16).tobytes(),
                pb.DATA_TYPE_F16,
            )
        ),
        CODE.INVALID_ARGUMENT,
        ("x[1][5]: ",),
        "x[1][5]",
    ),
    Case(
        "matmul-without-x",
        lambda client: client.inference.MatMul(
            pb.MatMulRequest(model="models/mlp", layer="fc1"), timeout=60
        ),
        CODE.INVALID_ARGUMENT,
        ("x",),
        "x",
    ),
    Case(
        "matmul-data-too-short",
        matmul(raw([2, 48], bytes(4 * 48))),
        CODE.INVALID_ARGUMENT,
        ("x.data",),
        "x.data",
    ),
    Case(
        "matmul-data-too-long",
        matmul(raw([1, 48], bytes(4 * 48 + 1))),
        CODE.INVALID_ARGUMENT,
        ("x.data",),
        "x.data",
    ),
    Case(
        "matmul-shape-overflows",
        matmul(raw([2**62, 48], b"")),
        CODE.INVALID_ARGUMENT,
        ("x.shape",),
        "x.shape",
    ),
    Case(
        "matmul-shape-wraps-to-zero",
        matmul(raw([2**32, 2**32], b"")),
        CODE.INVALID_ARGUMENT,
        ("x.shape",),
        "x.shape",
    ),
    Case(
        "matmul-shape-negative",
        matmul(raw([-1, 48], bytes(4 * 48))),
        CODE.INVALID_ARGUMENT,
        ("x.shape",),
        "x.shape",
    ),
    Case(
        "matmul-shape-of-one-dimension",
        matmul(raw([48], bytes(4 * 48))),
        CODE.INVALID_ARGUMENT,
        ("x.shape",),
        "x.shape",
    ),
    Case(
        "matmul-of-integers",
        matmul(raw([1, 48], bytes(4 * 48), pb.DATA_TYPE_I32)),
        CODE.INVALID_ARGUMENT,
        ("x.type",),
        "x.type",
    ),
    Case(
        "matmul-without-type",
        matmul(raw([1, 48], bytes(4 * 48), pb.DATA_TYPE_UNSPECIFIED)),
        CODE.INVALID_ARGUMENT,
        ("x.type",),
        "x.type",
    ),
    Case(
        "matmul-larger-than-the-message-limit",
        matmul(np.ones((MESSAGE_LIMIT // 4 // 48 + 1, 48))),
        CODE.RESOURCE_EXHAUSTED,
        ("message",),
    ),
]

CASES = (
    SAFETENSORS
    + CONFIG
    + UPLOADS
    + IDS
    + CALIBRATION
    + QUANTIZATION
    + BUNDLES
    + MODELS
    + INFERENCE
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from support.server import Server

    server = Server(
        tmp_path_factory.mktemp("data"), f"--max-message-bytes={MESSAGE_LIMIT}"
    )
    yield server
    server.kill()


@pytest.fixture(scope="module")
def good_answer(prepared):
    return prepared.embed("bert-int8", [[5, 6, 7], [8]])


def serves(client, good_answer):
    np.testing.assert_array_equal(
        client.embed("bert-int8", [[5, 6, 7], [8]]), good_answer
    )


def violations(error):
    """Fields of the google.rpc.BadRequest that a failed call carries."""
    fields = []
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        for detail in rpc_status.Status.FromString(value).details:
            bad_request = error_details.BadRequest()
            if detail.Unpack(bad_request):
                fields += [v.field for v in bad_request.field_violations]
    return fields


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bad_input(prepared, server, good_answer, case):
    with pytest.raises(grpc.RpcError) as caught:
        case.action(prepared)
    error = caught.value
    message = error.details()
    assert error.code() == case.code, message
    for name in case.names:
        assert name.lower() in message.lower(), message
    if case.field:
        fields = violations(error)
        assert any(case.field in field for field in fields), (fields, message)
    # Nobody outside should learn where the server keeps its files.
    assert str(server.data_dir) not in message
    serves(prepared, good_answer)


def test_the_table_is_long_enough():
    assert len(CASES) >= 60
    assert len({case.id for case in CASES}) == len(CASES)


def test_nothing_was_stored(prepared):
    """After all these cases: what was prepared, and what cases stored on
    purpose; no half of anything refused."""
    for checkpoint in prepared.checkpoints.ListCheckpoints(
        pb.ListCheckpointsRequest(), timeout=60
    ).checkpoints:
        if checkpoint.state == pb.Checkpoint.STATE_ACTIVE:
            continue
        # Uploads that broke off are kept to be resumed, never more than sent.
        for file in checkpoint.files:
            assert file.received_bytes <= file.size_bytes


def test_client_that_vanishes_while_it_uploads(prepared, server, good_answer):
    files = {W: bytes(3 << 20)}
    with Client(server.address) as vanishing:

        def messages():
            yield from itertools.islice(upload_messages("gone", files), 3)
            vanishing.close()

        with pytest.raises((grpc.RpcError, ValueError)):
            vanishing.checkpoints.UploadCheckpoint(messages(), timeout=30)
    serves(prepared, good_answer)
    # What came is kept, and another client may go on from there.
    checkpoint = prepared.get_checkpoint("gone")
    assert checkpoint.state == pb.Checkpoint.STATE_UPLOADING
    received = checkpoint.files[0].received_bytes
    assert 0 <= received <= 2 << 20
    with pytest.raises(grpc.RpcError) as refused:
        prepared.upload_checkpoint("gone", files, received={W: received})
    assert refused.value.code() == CODE.INVALID_ARGUMENT  # zeros are no tensors


def test_client_that_vanishes_while_it_calibrates(
    prepared, server, good_answer
):
    prepared.create_calibration("gone", "mlp")
    batch = feature_inputs(np.ones((2, 48), np.float32))
    with Client(server.address) as vanishing:

        def batches():
            yield batch
            yield batch
            vanishing.close()

        with pytest.raises((grpc.RpcError, ValueError)):
            vanishing.upload_batches("gone", batches())
    serves(prepared, good_answer)
    assert prepared.get_calibration("gone").batch_count <= 2


def test_client_that_vanishes_while_it_watches(prepared, server, good_answer):
    operation = prepared.start_quantization("mlp", fresh())
    with Client(server.address) as vanishing:
        watch = vanishing.watch(operation.name)
        next(watch)
    serves(prepared, good_answer)
    *_, last = prepared.watch(operation.name)
    assert last.state == pb.Operation.STATE_SUCCEEDED


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


def test_names_are_not_taken_as_paths(prepared, server):
    outside = server.data_dir.parent / "evil"
    assert not outside.exists()
    assert not list(server.data_dir.rglob("evil"))


def test_upload_resumes_where_the_server_says(prepared):
    files = checkpoints.mlp(seed=9)
    with pytest.raises(grpc.RpcError) as broken:
        prepared.checkpoints.UploadCheckpoint(
            itertools.chain(
                [header_of("resumed", files)],
                itertools.islice(chunks_of(W, files[W], size=1000), 3),
            ),
            timeout=60,
        )
    assert broken.value.code() == CODE.FAILED_PRECONDITION
    held = prepared.get_checkpoint("resumed")
    received = {file.path: file.received_bytes for file in held.files}
    assert received == {"config.json": 0, W: 3000}
    done = prepared.upload_checkpoint("resumed", files, received=received)
    assert done.state == pb.Checkpoint.STATE_ACTIVE
