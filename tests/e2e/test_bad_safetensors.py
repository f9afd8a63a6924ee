"""Weight files that are damaged, hostile, or not of the model they say."""

import struct

import numpy as np
import pytest

from support import checkpoints
from support.bad_input import CODE, WEIGHTS, Case, assert_nothing_stored, upload
from support.checkpoints import (
    MLP,
    json_bytes,
    raw_safetensors,
    safetensors_bytes,
)


def with_tensors(blob: bytes):
    return upload({"config.json": json_bytes(MLP), "model.safetensors": blob})


def f32(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


GOOD = checkpoints.mlp()
BLOB = GOOD[WEIGHTS]


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
    Case("empty-file", with_tensors(b""), CODE.INVALID_ARGUMENT, (WEIGHTS,)),
    Case(
        "shorter-than-its-length-field",
        with_tensors(b"\x01\x02\x03"),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS,),
    ),
    Case(
        "truncated-header",
        with_tensors(BLOB[:40]),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "header"),
    ),
    Case(
        "truncated-data",
        with_tensors(BLOB[:-4]),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "fc"),
    ),
    Case(
        "bytes-after-the-data",
        with_tensors(BLOB + b"\0" * 16),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS,),
    ),
    Case(
        "header-length-beyond-the-file",
        with_tensors(raw_safetensors(b"{}", b"", 1 << 20)),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "header"),
    ),
    Case(
        "header-length-of-all-ones",
        with_tensors(raw_safetensors(b"{}", b"", (1 << 64) - 1)),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "header"),
    ),
    Case(
        "header-longer-than-the-format-allows",
        with_tensors(struct.pack("<Q", 100_000_001) + b"{" + b" " * 1000),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "header"),
    ),
    Case(
        "header-is-not-json",
        with_tensors(raw_safetensors(b"{not json}", b"")),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS,),
    ),
    Case(
        "header-is-an-array",
        with_tensors(raw_safetensors(b"[1, 2]", b"")),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS,),
    ),
    Case(
        "header-is-nested-deeply",
        with_tensors(raw_safetensors(b'{"fc1.weight":' + b"[" * 200_000, b"")),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS,),
    ),
    Case(
        "overlapping-tensors",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([2], 12, 20)}, bytes(20))
        ),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "fc1.bias"),
    ),
    Case(
        "hole-between-tensors",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([2], 20, 28)}, bytes(28))
        ),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "fc1.bias"),
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
        (WEIGHTS, "fc1.bias"),
    ),
    Case(
        "end-before-begin",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([2], 24, 16)}, bytes(24))
        ),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "fc1.bias"),
    ),
    Case(
        "negative-offset",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([2], -8, 0)}, bytes(24))
        ),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "fc1.bias"),
    ),
    Case(
        "shape-does-not-fill-the-offsets",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([3], 16, 24)}, bytes(24))
        ),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "fc1.bias"),
    ),
    Case(
        "shape-overflows",
        with_tensors(
            raw_safetensors(
                two | {"fc1.bias": f32([1 << 33, 1 << 33], 16, 24)}, bytes(24)
            )
        ),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "fc1.bias"),
    ),
    Case(
        "negative-extent",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([-2], 16, 24)}, bytes(24))
        ),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "fc1.bias"),
    ),
    Case(
        "unknown-type",
        with_tensors(
            raw_safetensors(
                two | {"fc1.bias": f32([2], 16, 24, "F31")}, bytes(24)
            )
        ),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "fc1.bias", "F31"),
    ),
    Case(
        "type-is-a-number",
        with_tensors(
            raw_safetensors(two | {"fc1.bias": f32([2], 16, 24, 32)}, bytes(24))
        ),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "fc1.bias"),
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
        (WEIGHTS, "fc1.bias"),
    ),
    Case(
        "offsets-missing",
        with_tensors(
            raw_safetensors(
                {"fc1.weight": {"dtype": "F32", "shape": [1]}}, bytes(4)
            )
        ),
        CODE.INVALID_ARGUMENT,
        (WEIGHTS, "fc1.weight"),
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


@pytest.mark.parametrize("case", SAFETENSORS, ids=str)
def test_a_bad_weight_file(prepared, server, still_serves, case):
    case.check(prepared, server)
    still_serves()


def test_nothing_was_stored(prepared):
    assert_nothing_stored(prepared)
