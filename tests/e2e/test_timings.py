"""Where an answer's time went, as its trailing metadata says it."""

import re

import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from support.api import pb
from support.client import feature_inputs
from support.client import tensor as octet_tensor
from support.oip import tensor

PARTS = ["queue", "quantize", "dot", "dequantize", "outlier", "total"]
ROWS = np.ones((2048, 48), np.float32)


def server_timing(call) -> dict:
    """In milliseconds, by part."""
    values = [v for k, v in call.trailing_metadata() if k == "server-timing"]
    assert len(values) == 1
    return parsed(values[0])


def parsed(value) -> dict:
    parts = [part.strip() for part in value.split(",")]
    matches = [re.fullmatch(r"(\w+);dur=(\d+\.\d{3})", p) for p in parts]
    assert all(matches), value
    return {match[1]: float(match[2]) for match in matches}


def check(timing):
    assert list(timing) == PARTS
    assert timing["dot"] > 0
    assert timing["quantize"] > 0
    assert timing["total"] >= timing["queue"] >= 0
    assert timing["outlier"] == 0  # the scheme has none


@pytest.mark.parametrize("call", ["Forward", "MatMul"])
def test_octets_own_answers_say_it_twice(prepared, call):
    if call == "Forward":
        request = pb.ForwardRequest(
            model="models/mlp-int8", inputs=feature_inputs(ROWS)
        )
    else:
        request = pb.MatMulRequest(
            model="models/mlp-int8", layer="fc1", x=octet_tensor(ROWS)
        )
    method = getattr(prepared.inference, call)
    response, rpc = method.with_call(request, timeout=10)
    timing = server_timing(rpc)
    check(timing)
    for part, milliseconds in timing.items():
        said = getattr(response.timings, part).ToNanoseconds() / 1e6
        assert milliseconds == pytest.approx(said, abs=0.00051), part


@pytest.mark.parametrize("model", ["mlp-int8", "mlp-int8.fc1"])
def test_answers_of_the_open_inference_protocol_say_it(prepared, model):
    stub = service_pb2_grpc.GRPCInferenceServiceStub(prepared.channel)
    _, rpc = stub.ModelInfer.with_call(infer_request(model), timeout=10)
    check(server_timing(rpc))


@pytest.mark.parametrize("model", ["mlp-int8", "mlp-int8.fc1"])
def test_each_answer_of_a_stream_says_it(prepared, model):
    """A stream has one trailer, and many answers."""
    stub = service_pb2_grpc.GRPCInferenceServiceStub(prepared.channel)
    requests = [infer_request(model) for _ in range(3)]
    answers = list(stub.ModelStreamInfer(iter(requests), timeout=10))
    assert len(answers) == 3
    for answer in answers:
        parameters = answer.infer_response.parameters
        check(parsed(parameters["server-timing"].string_param))


def infer_request(model):
    x = tensor("x", ROWS)
    return service_pb2.ModelInferRequest(
        model_name=model,
        inputs=[x._get_tensor()],
        raw_input_contents=[x._get_content()],
    )
