"""ModelStreamInfer: many requests in flight on one stream, answers in the
order of the requests, errors in their place."""

import queue

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc

from support.oip import tensor, tokens

REQUESTS = 200


@pytest.fixture
def oip(server, prepared):
    with triton.InferenceServerClient(server.address) as client:
        yield client


@pytest.fixture
def stream(oip):
    answers = queue.Queue()
    oip.start_stream(lambda result, error: answers.put((result, error)))
    yield lambda: answers.get(timeout=60)
    oip.stop_stream()


def test_answers_come_in_the_order_of_the_requests(oip, stream, prepared):
    rng = np.random.default_rng(3)
    sequences = [
        rng.integers(0, 50, n).tolist() for n in rng.integers(1, 25, REQUESTS)
    ]
    for i, sequence in enumerate(sequences):
        oip.async_stream_infer(
            "bert-int8", tokens([sequence]), request_id=str(i)
        )
    alone = prepared.embed("bert-int8", sequences)
    for i in range(REQUESTS):
        result, error = stream()
        assert error is None
        assert result.get_response().id == str(i)
        assert list(result.get_response().parameters) == ["server-timing"]
        np.testing.assert_array_equal(
            result.as_numpy("sentence_embedding")[0], alone[i]
        )


def test_a_request_that_fails_does_not_end_the_stream(oip, stream):
    x = [tensor("x", np.ones((2, 48), np.float32))]
    for i in range(30):
        model = ("mlp", "nowhere", "mlp.fc1")[i % 3]
        oip.async_stream_infer(model, x, request_id=str(i))
    for i in range(30):
        result, error = stream()
        if i % 3 == 1:
            assert error.message().startswith("NOT_FOUND: model 'nowhere'")
        else:
            assert error is None
            assert result.get_response().id == str(i)


def test_an_error_carries_the_id_of_its_request(server, prepared):
    with grpc.insecure_channel(server.address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        (answer,) = stub.ModelStreamInfer(
            iter([service_pb2.ModelInferRequest(model_name="no", id="mine")])
        )
    assert answer.infer_response.id == "mine"
    assert answer.error_message.startswith("NOT_FOUND: ")


def test_the_final_answer_is_marked_where_that_is_asked_for(oip, stream):
    x = [tensor("x", np.ones((2, 48), np.float32))]
    oip.async_stream_infer("mlp", x, enable_empty_final_response=True)
    result, error = stream()
    assert error is None
    parameters = result.get_response().parameters
    assert parameters["triton_final_response"].bool_param


def test_a_client_that_leaves_in_the_middle_harms_nobody(server, oip, prepared):
    x = np.ones((64, 48), np.float32)
    for _ in range(5):
        oip.start_stream(lambda result, error: None)
        for _ in range(100):
            oip.async_stream_infer("mlp", [tensor("x", x)])
        oip.stop_stream(cancel_requests=True)
    y = oip.infer("mlp", [tensor("x", x)]).as_numpy("y")
    np.testing.assert_array_equal(y[0], y[63])
    assert server.running()
