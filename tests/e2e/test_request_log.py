"""What is logged of calls, what one client may have in flight, and whom a
trace belongs to."""

import json
import re
import time

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from support import checkpoints, wait
from support.api import error_details, pb, rpc_status
from support.client import Client, feature_inputs, tensor
from support.oip import tensor as oip_tensor
from support.resting import Resting

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def lines(server):
    return [
        json.loads(text)
        for text in re.findall(r"request (\{.*\})$", server.log_text(), re.M)
    ]


def serve(start_server, *flags):
    server = start_server(None, *flags)
    with Client(server.address) as client:
        client.upload_checkpoint("mlp", checkpoints.mlp())
        client.load("mlp", "checkpoints/mlp")
    return server


def fail(client, metadata=()):
    request = pb.ForwardRequest(
        model="models/nowhere",
        inputs=feature_inputs(np.ones((1, 48), np.float32)),
    )
    with pytest.raises(grpc.RpcError) as error:
        client.inference.Forward(request, metadata=metadata, timeout=10)
    return error.value


def test_a_failed_call_has_one_line_and_the_others_none(start_server):
    server = serve(start_server, "--slow-request-seconds=1000")
    with Client(server.address) as client:
        client.forward("mlp", feature_inputs(np.ones((3, 48), np.float32)))
        assert lines(server) == []
        error = fail(client, (("traceparent", PARENT),))
    trailing = dict(error.trailing_metadata())["traceparent"]
    (line,) = lines(server)
    assert line["trace"] == TRACE
    assert trailing == f"00-{TRACE}-{line['id']}-01"
    assert line["method"] == "InferenceService/Forward"
    assert line["model"] == "models/nowhere"
    assert line["code"] == "NOT_FOUND"
    assert line["message"] == error.details()
    assert line["client"] == "127.0.0.1"
    assert line["peer"].startswith("ipv4:127.0.0.1:")
    assert line["received_bytes"] > 48 * 4
    assert line["total_ms"] >= line["queue_ms"] >= 0


def stream_of_products(client, layers, metadata=()):
    """One request for each layer, with ids "r0", "r1"..."""
    requests = [
        pb.StreamMatMulRequest(
            id=f"r{i}",
            request=pb.MatMulRequest(
                model="models/mlp", layer=layer, x=tensor(np.ones((3, 48)))
            ),
        )
        for i, layer in enumerate(layers)
    ]
    return list(
        client.inference.StreamMatMul(
            iter(requests), metadata=metadata, timeout=10
        )
    )


def test_a_failed_request_of_a_stream_has_a_line(start_server):
    server = serve(start_server, "--slow-request-seconds=1000")
    with Client(server.address) as client:
        answers = stream_of_products(
            client, ["fc1", "nowhere", "fc1"], (("traceparent", PARENT),)
        )
    assert [a.HasField("status") for a in answers] == [False, True, False]
    (line,) = lines(server)
    assert line["method"] == "InferenceService/StreamMatMul"
    assert (line["request"], line["model"]) == ("r1", "models/mlp")
    assert line["code"] == "NOT_FOUND"
    assert "nowhere" in line["message"]
    assert line["trace"] == TRACE
    assert line["received_bytes"] > 3 * 48 * 4
    assert line["sent_bytes"] > 0
    assert line["total_ms"] >= line["queue_ms"] >= 0


def test_a_failed_request_of_an_open_inference_stream_has_a_line(start_server):
    server = serve(start_server, "--slow-request-seconds=1000")
    x = oip_tensor("x", np.ones((3, 48), np.float32))
    requests = [
        service_pb2.ModelInferRequest(
            model_name=model,
            id=f"r{i}",
            inputs=[x._get_tensor()],
            raw_input_contents=[x._get_content()],
        )
        for i, model in enumerate(["mlp", "mlp.fc1", "nowhere"])
    ]
    with grpc.insecure_channel(server.address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert len(list(stub.ModelStreamInfer(iter(requests), timeout=10))) == 3
    (line,) = lines(server)
    assert line["method"] == "GRPCInferenceService/ModelStreamInfer"
    assert (line["request"], line["model"]) == ("r2", "nowhere")
    assert line["code"] == "NOT_FOUND"
    assert "'nowhere'" in line["message"]


def test_a_slow_request_of_a_stream_has_a_line_and_the_stream_none(
    start_server,
):
    server = serve(start_server, "--slow-request-seconds=0.000001")
    with Client(server.address) as client:
        stream_of_products(client, ["fc1", "fc1"])
    found = [
        line
        for line in lines(server)
        if line["method"] == "InferenceService/StreamMatMul"
    ]
    assert [line["request"] for line in found] == ["r0", "r1"]
    assert all(line["slow"] and line["code"] == "OK" for line in found)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        PARENT.upper(),
        PARENT.replace("00-", "ff-", 1),
        PARENT + "0",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
    ],
)
def test_without_a_valid_parent_a_new_trace_begins(start_server, header):
    server = serve(start_server)
    with Client(server.address) as client:
        error = fail(client, (("traceparent", header),) if header else ())
    trailing = dict(error.trailing_metadata())["traceparent"]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", trailing)
    assert TRACE not in trailing


def test_a_slow_call_has_a_line(start_server):
    server = serve(start_server, "--slow-request-seconds=0.000001")
    with Client(server.address) as client:
        client.forward("mlp", feature_inputs(np.ones((3, 48), np.float32)))
    line = lines(server)[-1]
    assert (line["code"], line["slow"]) == ("OK", True)
    assert line["sent_bytes"] > 0


def test_the_rate_of_lines_is_bounded(start_server):
    server = serve(start_server)
    with Client(server.address) as client:
        for _ in range(300):
            fail(client)
        assert 0 < len(lines(server)) < 200
        time.sleep(1.2)
        fail(client)
    assert "lines were left out" in server.log_text()


def error_of_list_models(client):
    try:
        client.models.ListModels(pb.ListModelsRequest(), timeout=10)
    except grpc.RpcError as error:
        return error
    return None


def test_a_client_with_too_many_calls_is_told_to_wait(start_server):
    server = serve(start_server, "--client-max-calls=2")
    with Client(server.address) as client:
        resting = Resting(client, 2)
        resting.wait_until_seen(server)
        refused = error_of_list_models(client)
        assert refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "has 2 calls in flight" in refused.details()
        details = rpc_status.Status.FromString(
            dict(refused.trailing_metadata())["grpc-status-details-bin"]
        )
        assert any(
            d.Is(error_details.RetryInfo.DESCRIPTOR) for d in details.details
        )
        resting.end()
        # The server may forget them a moment after their client.
        wait.until(
            lambda: error_of_list_models(client) is None,
            "the client may not come back",
        )


def test_a_message_larger_than_what_a_client_may_hold_goes_alone(start_server):
    server = serve(start_server, "--client-max-mib=1")
    with Client(server.address) as client:
        x = feature_inputs(np.ones((20000, 48), np.float32))
        assert client.forward("mlp", x).shape[0] == 20000
