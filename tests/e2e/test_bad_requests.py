"""Requests to models that are not there, or that do not take such inputs."""

import numpy as np
import pytest

from support.api import pb
from support.bad_input import CODE, Case, fresh, rows_with
from support.client import feature_inputs, token_inputs

MESSAGE_LIMIT = 8 << 20
SERVER_FLAGS = (f"--max-message-bytes={MESSAGE_LIMIT}",)


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


@pytest.mark.parametrize("case", MODELS + INFERENCE, ids=str)
def test_a_bad_request(prepared, server, still_serves, case):
    case.check(prepared, server)
    still_serves()
