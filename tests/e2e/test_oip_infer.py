"""Inference by the Open Inference Protocol, with tritonclient: the bits of
octet.v1, whatever way the tensors come."""

import queue

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc import StatusCode
from tritonclient.grpc import service_pb2
from tritonclient.grpc._utils import raise_error_grpc

from support import checkpoints
from support.api import pb
from support.client import feature_inputs, token_inputs
from support.oip import fails, pad_rows, padded, tensor, tokens, wanted

SEQUENCES = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10], [11]]
WIDTH = 9
HIDDEN = checkpoints.BERT["hidden_size"]


@pytest.fixture(scope="module")
def oip(server, prepared):
    prepared.upload_checkpoint("set", checkpoints.linear_set(layers=2))
    prepared.load("set", "checkpoints/set")
    with triton.InferenceServerClient(server.address) as client:
        yield client


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(5).normal(0, 1, (7, 48)).astype(np.float32)


@pytest.mark.parametrize("model", ["bert", "bert-int8"])
@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_an_encoder_gives_hidden_states_and_embeddings(
    oip, prepared, model, dtype
):
    result = oip.infer(model, tokens(SEQUENCES, WIDTH, dtype), request_id="7")
    hidden = prepared.embed(
        model, SEQUENCES, output=pb.OUTPUT_KIND_HIDDEN_STATES
    )
    np.testing.assert_array_equal(
        result.as_numpy("last_hidden_state"),
        pad_rows(hidden, SEQUENCES, WIDTH),
    )
    np.testing.assert_array_equal(
        result.as_numpy("sentence_embedding"), prepared.embed(model, SEQUENCES)
    )
    response = result.get_response()
    assert response.id == "7"
    assert response.model_name == model
    assert response.model_version == "1"


def test_outputs_are_those_that_were_asked_for_in_that_order(oip, prepared):
    inputs = tokens(SEQUENCES, WIDTH)
    for names in (
        ["sentence_embedding"],
        ["last_hidden_state"],
        ["sentence_embedding", "last_hidden_state"],
    ):
        result = oip.infer("bert", inputs, outputs=wanted(*names))
        response = result.get_response()
        assert [output.name for output in response.outputs] == names
        assert len(response.raw_output_contents) == len(names)
        if "sentence_embedding" in names:
            np.testing.assert_array_equal(
                result.as_numpy("sentence_embedding"),
                prepared.embed("bert", SEQUENCES),
            )


def test_without_a_mask_every_id_counts(oip, prepared):
    ids = [[0, 1, 2], [3, 0, 0]]
    result = oip.infer(
        "bert",
        [
            tensor("input_ids", np.array(ids)),
            tensor("token_type_ids", np.zeros((2, 3), np.int64)),
        ],
    )
    np.testing.assert_array_equal(
        result.as_numpy("sentence_embedding"), prepared.embed("bert", ids)
    )


def test_padding_may_be_longer_than_the_model_takes(oip, prepared):
    width = checkpoints.BERT["max_position_embeddings"] + 10
    result = oip.infer("bert", tokens(SEQUENCES, width))
    assert result.as_numpy("last_hidden_state").shape == (3, width, HIDDEN)
    np.testing.assert_array_equal(
        result.as_numpy("sentence_embedding"),
        prepared.embed("bert", SEQUENCES),
    )


@pytest.mark.parametrize("model", ["mlp", "mlp-int8"])
def test_a_feature_model_gives_y_for_x(oip, prepared, rows, model):
    y = oip.infer(model, [tensor("x", rows)]).as_numpy("y")
    np.testing.assert_array_equal(
        y, prepared.forward(model, feature_inputs(rows))
    )


@pytest.mark.parametrize(
    ("model", "layer", "width"),
    [
        ("mlp-int8", "fc2", 64),
        ("bert-int8", "encoder.layer.1.output.dense", 64),
        ("set", "block.1.proj", 24),
    ],
)
def test_every_linear_is_a_model_by_its_name(
    oip, prepared, model, layer, width
):
    x = np.random.default_rng(6).normal(0, 1, (5, width)).astype(np.float32)
    y = oip.infer(f"{model}.{layer}", [tensor("x", x)]).as_numpy("y")
    np.testing.assert_array_equal(y, prepared.matmul(model, layer, x))


def test_half_precision_is_taken(oip, prepared, rows):
    half = rows.astype(np.float16)
    y = oip.infer("mlp", [tensor("x", half)]).as_numpy("y")
    np.testing.assert_array_equal(
        y, prepared.forward("mlp", feature_inputs(half.astype(np.float32)))
    )


def request(model, *inputs):
    return service_pb2.ModelInferRequest(model_name=model, inputs=inputs)


def typed(name, datatype, shape, **contents):
    return service_pb2.ModelInferRequest.InferInputTensor(
        name=name,
        datatype=datatype,
        shape=shape,
        contents=service_pb2.InferTensorContents(**contents),
    )


def test_typed_contents_are_taken(oip, prepared, rows):
    stub = oip._client_stub
    response = stub.ModelInfer(
        request(
            "bert",
            typed("input_ids", "INT64", [1, 3], int64_contents=[1, 2, 9]),
            typed("attention_mask", "INT32", [1, 3], int_contents=[1, 1, 0]),
        )
    )
    embedding = np.frombuffer(response.raw_output_contents[1], np.float32)
    np.testing.assert_array_equal(
        embedding, prepared.embed("bert", [[1, 2]])[0]
    )
    response = stub.ModelInfer(
        request("mlp", typed("x", "FP32", [7, 48], fp32_contents=rows.ravel()))
    )
    np.testing.assert_array_equal(
        np.frombuffer(response.raw_output_contents[0], np.float32),
        prepared.forward("mlp", feature_inputs(rows)).ravel(),
    )


def test_many_at_once_by_both_apis_give_the_same_bits(oip, prepared):
    rng = np.random.default_rng(8)
    batches = [
        [rng.integers(0, 50, n).tolist() for n in rng.integers(1, 25, size)]
        for size in rng.integers(1, 6, 24)
    ]
    alone = [prepared.embed("bert-int8", batch) for batch in batches]
    answers = queue.Queue()
    for i, batch in enumerate(batches):
        oip.async_infer(
            "bert-int8",
            tokens(batch),
            lambda result, error: answers.put((result, error)),
            request_id=str(i),
        )
        prepared.inference.Forward.future(
            pb.ForwardRequest(
                model="models/bert-int8", inputs=token_inputs(batch)
            )
        )
    for _ in batches:
        result, error = answers.get(timeout=60)
        assert error is None
        np.testing.assert_array_equal(
            result.as_numpy("sentence_embedding"),
            alone[int(result.get_response().id)],
        )


def test_priority_timeout_and_compression_are_understood(oip, rows):
    for priority in (0, 1, 2, 3):
        oip.infer("mlp", [tensor("x", rows)], priority=priority)
    oip.infer("mlp", [tensor("x", rows)], timeout=10_000_000)
    oip.infer("mlp", [tensor("x", rows)], compression_algorithm="gzip")
    oip.infer("mlp", [tensor("x", rows)], parameters={"mine": "ignored"})
    with fails(StatusCode.INVALID_ARGUMENT, "parameters.priority", "is 4"):
        oip.infer("mlp", [tensor("x", rows)], priority=4)
    with fails(StatusCode.INVALID_ARGUMENT, "parameters.timeout", "-1"):
        oip.infer("mlp", [tensor("x", rows)], timeout=-1)
    with fails(StatusCode.DEADLINE_EXCEEDED):
        oip.infer("mlp", [tensor("x", rows)], timeout=1)


IDS, MASK = padded(SEQUENCES, WIDTH)


@pytest.mark.parametrize(
    ("model", "inputs", "texts"),
    [
        ("bert", [], ["inputs", "input_ids is missing"]),
        (
            "bert",
            [("input_ids", IDS), ("segments", MASK)],
            ["inputs[1].name", "'segments' is no input"],
        ),
        (
            "bert",
            [("input_ids", IDS), ("input_ids", IDS)],
            ["inputs[1].name", "came before"],
        ),
        ("bert", [("input_ids", IDS)], ["input_ids[0][3]", "is -7"]),
        (
            "bert",
            [("input_ids", np.array([[1, 50]]))],
            ["input_ids[0][1]", "is 50", "0 to 49"],
        ),
        (
            "bert",
            [("input_ids", IDS), ("attention_mask", MASK * 0)],
            ["attention_mask[0]", "is all 0"],
        ),
        (
            "bert",
            [("input_ids", IDS), ("attention_mask", MASK[:, ::-1])],
            ["attention_mask[0][6]", "at the end"],
        ),
        (
            "bert",
            [("input_ids", IDS), ("attention_mask", MASK * 2)],
            ["attention_mask[0][0]", "0 or 1"],
        ),
        (
            "bert",
            [("input_ids", IDS), ("attention_mask", MASK[:2])],
            ["attention_mask.shape", "[2, 9]"],
        ),
        (
            "bert",
            [
                ("input_ids", IDS),
                ("attention_mask", MASK),
                ("token_type_ids", MASK),
            ],
            ["token_type_ids[0][0]", "type 0"],
        ),
        (
            "bert",
            [("input_ids", np.zeros((1, 25), np.int64))],
            ["input_ids[0]", "has 25 tokens", "24"],
        ),
        ("bert", [("input_ids", IDS[0])], ["input_ids.shape", "[9]"]),
        (
            "bert",
            [("input_ids", np.array([["hello"]], np.object_))],
            ["input_ids.datatype", "'BYTES'"],
        ),
        (
            "bert",
            [("input_ids", IDS.astype(np.float32))],
            ["input_ids.datatype", "INT64 or INT32"],
        ),
        (
            "mlp",
            [("x", np.ones((2, 47), np.float32))],
            ["x.shape", "[rows, 48]"],
        ),
        ("mlp", [("x", np.ones((0, 48), np.float32))], ["x.shape", "1 to"]),
        (
            "mlp",
            [("x", np.full((2, 48), np.nan, np.float32))],
            ["x[0][0]", "finite"],
        ),
        (
            "mlp.fc1",
            [("x", np.full((2, 48), np.inf, np.float32))],
            ["x[0][0]", "finite"],
        ),
        ("mlp", [("x", np.ones((2, 48)))], ["x.datatype", "'FP64'"]),
    ],
)
def test_what_is_wrong_is_named(oip, model, inputs, texts):
    with fails(StatusCode.INVALID_ARGUMENT, *texts):
        oip.infer(model, [tensor(name, value) for name, value in inputs])


def test_what_is_not_there_is_said(oip, rows):
    x = [tensor("x", rows)]
    with fails(StatusCode.NOT_FOUND, "model 'nowhere' is not loaded"):
        oip.infer("nowhere", x)
    with fails(StatusCode.NOT_FOUND, "fc9"):
        oip.infer("mlp.fc9", x)
    with fails(StatusCode.NOT_FOUND, "version", "9"):
        oip.infer("mlp", x, model_version="9")
    with fails(StatusCode.INVALID_ARGUMENT, "model_version"):
        oip.infer("mlp", x, model_version="newest")
    with fails(StatusCode.INVALID_ARGUMENT, "outputs[0].name", "'z'"):
        oip.infer("mlp", x, outputs=wanted("z"))
    with fails(StatusCode.INVALID_ARGUMENT, "classification"):
        oip.infer(
            "mlp", x, outputs=[triton.InferRequestedOutput("y", class_count=2)]
        )
    with fails(StatusCode.FAILED_PRECONDITION, "'set.LAYER'"):
        oip.infer("set", x)


def test_sizes_that_do_not_agree_are_refused(oip, rows):
    raw = rows.tobytes()
    x = {"name": "x", "datatype": "FP32"}
    wrong = [
        ({"shape": [8, 48]}, [raw], "x: has"),
        ({"shape": [1 << 40, 1 << 40]}, [raw], "overflows"),
        ({"shape": [-1, 48]}, [raw], "negative"),
        ({"shape": [7, 48]}, [], "x: has 0 bytes"),
        ({"shape": [7, 48]}, [raw, raw], "raw_input_contents: has 2"),
    ]
    for shape, contents, text in wrong:
        message = request("mlp", x | shape)
        message.raw_input_contents.extend(contents)
        with fails(StatusCode.INVALID_ARGUMENT, text):
            _infer(oip, message)
    both = request("mlp", typed("x", "FP32", [7, 48], fp32_contents=[1]))
    both.raw_input_contents.append(raw)
    with fails(StatusCode.INVALID_ARGUMENT, "x.contents"):
        _infer(oip, both)


def _infer(oip, message):
    """As tritonclient raises it."""
    try:
        return oip._client_stub.ModelInfer(message)
    except grpc.RpcError as error:
        raise_error_grpc(error)


def test_a_real_model_gives_the_bits_of_forward(
    prepared, oip, model_dir, held_out
):
    """MiniLM in INT8: sentences of all lengths in one padded batch, by both
    ways to an embedding."""
    batch = held_out[:16]
    files = checkpoints.from_directory(model_dir)
    prepared.upload_checkpoint("minilm", files)
    prepared.quantize("minilm", "minilm")
    prepared.load("minilm", "bundles/minilm")
    embeddings = prepared.embed("minilm", batch)
    hidden = prepared.embed(
        "minilm", batch, output=pb.OUTPUT_KIND_HIDDEN_STATES
    )
    width = max(map(len, batch))
    both = oip.infer("minilm", tokens(batch))
    np.testing.assert_array_equal(
        both.as_numpy("last_hidden_state"), pad_rows(hidden, batch, width)
    )
    one = oip.infer(
        "minilm", tokens(batch), outputs=wanted("sentence_embedding")
    )
    for result in (both, one):
        embedding = result.as_numpy("sentence_embedding")
        np.testing.assert_array_equal(embedding, embeddings)
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, 1e-5)
