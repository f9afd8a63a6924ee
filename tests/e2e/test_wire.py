"""What goes over the wire, byte by byte: messages that no client library would
write, streams that go on after a mistake, and what a large tensor costs."""

import pathlib
import re

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from support import checkpoints
from support.api import pb
from support.client import Client, array, feature_inputs, tensor

MIB = 1 << 20
MATMUL = "/octet.v1.InferenceService/MatMul"


def request(x, layer="fc1", **fields):
    return pb.MatMulRequest(
        model="models/mlp-int8", layer=layer, x=tensor(x), **fields
    )


def rows(count, columns=48, seed=3):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (count, columns)).astype(np.float32)


@pytest.fixture(scope="module")
def call(server, prepared):
    """call(bytes) -> the response to a MatMul request of these bytes."""
    with grpc.insecure_channel(server.address) as channel:
        method = channel.unary_unary(
            MATMUL, response_deserializer=pb.MatMulResponse.FromString
        )
        yield lambda data: method(data, timeout=30)


def test_fields_in_any_order_and_in_parts(prepared, call):
    x = rows(2)
    expected = prepared.matmul("mlp-int8", "fc1", x)
    # Shape, type and data of x in a message each; first another x.data; an
    # unknown group and an unknown field in between.
    parts = [
        pb.MatMulRequest(x=pb.Tensor(data=b"replaced", shape=[2])),
        pb.MatMulRequest(x=pb.Tensor(data=x.tobytes())),
        pb.MatMulRequest(layer="fc1", x=pb.Tensor(shape=[48])),
        pb.MatMulRequest(x=pb.Tensor(type=pb.DATA_TYPE_F32)),
        pb.MatMulRequest(model="models/mlp-int8"),
    ]
    unknown = b"\xa3\x06\x08\x01\xa4\x06" + b"\xaa\x06\x03abc"
    response = call(unknown.join(part.SerializeToString() for part in parts))
    np.testing.assert_array_equal(array(response.y), expected)


def test_bytes_that_are_no_message_are_the_callers_mistake(call):
    whole = request(rows(1)).SerializeToString()
    for data in (whole[:-1], whole + b"\x0a\x7f", b"\xff" * 20, b"\x0c"):
        with pytest.raises(grpc.RpcError) as error:
            call(data)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "octet.v1.MatMulRequest" in error.value.details()


def test_a_stream_goes_on_after_a_wrong_request(prepared):
    x = rows(3)
    sent = [
        pb.StreamMatMulRequest(id="good", request=request(x)),
        pb.StreamMatMulRequest(id="empty"),
        pb.StreamMatMulRequest(id="layer", request=request(x, layer="fc9")),
        pb.StreamMatMulRequest(id="width", request=request(rows(1, 47))),
        pb.StreamMatMulRequest(id="again", request=request(x)),
    ]
    answers = list(prepared.inference.StreamMatMul(iter(sent), timeout=60))
    assert [a.id for a in answers] == [s.id for s in sent]
    # OK, INVALID_ARGUMENT, NOT_FOUND, INVALID_ARGUMENT, OK
    assert [a.status.code for a in answers] == [0, 3, 5, 3, 0]
    assert answers[3].status.message.startswith("request.x: ")
    good = array(answers[0].response.y)
    np.testing.assert_array_equal(good, prepared.matmul("mlp-int8", "fc1", x))
    np.testing.assert_array_equal(array(answers[4].response.y), good)


def test_more_requests_than_the_window_all_come_back(prepared):
    xs = [rows(1 + i % 5, seed=i) for i in range(200)]
    sent = (
        pb.StreamMatMulRequest(id=str(i), request=request(x))
        for i, x in enumerate(xs)
    )
    answers = list(prepared.inference.StreamMatMul(sent, timeout=60))
    assert [a.id for a in answers] == [str(i) for i in range(200)]
    for i in (0, 77, 199):
        np.testing.assert_array_equal(
            array(answers[i].response.y),
            prepared.matmul("mlp-int8", "fc1", xs[i]),
        )


def infer(client, model, x):
    """ModelInfer of "x", as it comes without a client's own copies."""
    client.channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=service_pb2.ModelInferRequest.SerializeToString,
    )(
        service_pb2.ModelInferRequest(
            model_name=model,
            inputs=[{"name": "x", "datatype": "FP32", "shape": x.shape}],
            raw_input_contents=[x.tobytes()],
        ),
        timeout=client.timeout,
    )


# How often 32 MiB of rows are in memory at the peak. A product is computed from
# an aligned copy of them; a whole model fetches rows from what came, batch by
# batch. gRPC reads ahead into buffers of its own: some more than the message.
LARGE = {
    "MatMul": (lambda client, x: client.matmul("wide", "fc1", x), 2.5),
    "Forward": (
        lambda client, x: client.forward("wide", feature_inputs(x)),
        1.75,
    ),
    "ModelInfer": (lambda client, x: infer(client, "wide", x), 1.75),
    "ModelInfer of a layer": (
        lambda client, x: infer(client, "wide.fc1", x),
        2.5,
    ),
}


@pytest.mark.parametrize("method", LARGE)
def test_a_large_tensor_is_held_once_besides_what_came(start_server, method):
    call, most = LARGE[method]
    server = start_server()
    with Client(server.address) as client:
        client.upload_checkpoint("wide", checkpoints.mlp(widths=(4096, 4, 4)))
        client.load("wide", "checkpoints/wide")
        call(client, rows(256, 4096))
        before = peak_mib(server)
        call(client, rows(2048, 4096))
        grown = peak_mib(server) - before
    assert grown < most * 32


def test_a_large_request_is_each_of_its_rows(prepared):
    """It is computed in pieces, and decoded where each of them is."""
    x = rows(3000, seed=11)
    together = prepared.forward("mlp-int8", feature_inputs(x))
    apart = [
        prepared.forward("mlp-int8", feature_inputs(x[i : i + 7]))
        for i in (0, 700, 2990)
    ]
    for i, part in zip((0, 700, 2990), apart, strict=True):
        np.testing.assert_array_equal(together[i : i + 7], part)


def test_the_bad_value_of_a_large_request_is_named(prepared):
    x = rows(3000, seed=11)
    x[2345, 6] = np.nan
    with pytest.raises(grpc.RpcError) as error:
        prepared.forward("mlp-int8", feature_inputs(x))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "inputs.features[2345][6]: is nan" in error.value.details()


def peak_mib(server) -> float:
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024 / MIB
