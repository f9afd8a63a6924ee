"""What else tritonclient can do around a call: asyncio, cancelling, its own
timeouts, TLS with a token, and what it is told under overload."""

import asyncio
import hashlib
import queue
import time

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from grpc import StatusCode
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from support import checkpoints, wait
from support.api import error_details, rpc_status
from support.certificates import Authority
from support.client import Client, feature_inputs
from support.oip import fails, infer_request, tensor, tokens
from support.prometheus_text import Samples

WIDTH = 1024


@pytest.fixture
def x():
    return np.random.default_rng(4).normal(0, 1, (5, 48)).astype(np.float32)


# asyncio


def test_asyncio_clients_get_the_same_bits(server, prepared, x):
    sequences = [[1, 2, 3], [4], [5, 6]]

    async def ask():
        async with triton_aio.InferenceServerClient(server.address) as oip:
            assert await oip.is_server_live()
            assert await oip.is_server_ready()
            assert await oip.is_model_ready("mlp-int8")
            assert not await oip.is_model_ready("nowhere")
            assert (await oip.get_server_metadata()).name == "octet"
            many = [oip.infer("mlp-int8", [tensor("x", x)]) for _ in range(20)]
            embeddings = oip.infer("bert-int8", tokens(sequences))
            return await asyncio.gather(embeddings, *many)

    embeddings, *many = asyncio.run(ask())
    np.testing.assert_array_equal(
        embeddings.as_numpy("sentence_embedding"),
        prepared.embed("bert-int8", sequences),
    )
    expected = prepared.forward("mlp-int8", feature_inputs(x))
    for result in many:
        np.testing.assert_array_equal(result.as_numpy("y"), expected)


def test_asyncio_streams_answer_in_order_and_go_on_after_an_error(
    server, prepared, x
):
    models = ["mlp", "nowhere", "mlp.fc1", "mlp"]

    async def requests():
        for i, model in enumerate(models):
            yield {
                "model_name": model,
                "inputs": [tensor("x", x)],
                "request_id": str(i),
            }

    async def ask():
        async with triton_aio.InferenceServerClient(server.address) as oip:
            answers = oip.stream_infer(requests())
            return [answer async for answer in answers]

    answers = asyncio.run(ask())
    assert len(answers) == len(models)
    for i, (result, error) in enumerate(answers):
        if models[i] == "nowhere":
            assert error.message().startswith("NOT_FOUND: ")
        else:
            assert error is None
            assert result.get_response().id == str(i)


def test_asyncio_errors_have_their_codes(server, prepared):
    async def ask():
        async with triton_aio.InferenceServerClient(server.address) as oip:
            await oip.infer("nowhere", [tensor("x", np.ones((1, 48), "f4"))])

    with pytest.raises(InferenceServerException) as caught:
        asyncio.run(ask())
    assert caught.value.status() == str(StatusCode.NOT_FOUND)


# Clients that do not wait


@pytest.fixture
def busy(start_server):
    """One thread and a model that takes its time: (server, tritonclient)."""
    server = start_server(None, "--threads=1", "--queue-capacity=8")
    with (
        Client(server.address) as client,
        triton.InferenceServerClient(server.address) as oip,
    ):
        client.upload_checkpoint(
            "wide", checkpoints.mlp(widths=(WIDTH, 6 * WIDTH, WIDTH))
        )
        client.load("wide", "checkpoints/wide")
        yield server, oip


SLOW = [tensor("x", np.ones((600, WIDTH), np.float32))]
BUSY_CALLS = 6


def seconds_of_work(oip):
    """That SLOW takes when nothing else is asked: of this machine."""
    begin = time.monotonic()
    oip.infer("wide", SLOW)
    return time.monotonic() - begin


def dropped(server, reason):
    return Samples(server.metrics_text()).get(
        "octet_work_dropped_total", reason=reason
    )


def calls(server, code):
    return Samples(server.metrics_text()).get(
        "octet_rpc_requests_total", code=code
    )


def in_flight(server):
    return Samples(server.metrics_text()).get(
        "octet_rpc_in_flight", method="GRPCInferenceService/ModelInfer"
    )


def test_a_cancelled_handle_ends_its_call_in_the_server(busy):
    server, oip = busy
    answers = queue.Queue()

    def ask():
        return oip.async_infer(
            "wide", SLOW, lambda result, error: answers.put(error)
        )

    handles = [ask() for _ in range(BUSY_CALLS)]
    wait.until(lambda: in_flight(server) >= 2)
    for handle in handles:
        handle.cancel()
    errors = [answers.get(timeout=60) for _ in handles]
    cancelled = [
        error for error in errors if error and "cancelled" in error.message()
    ]
    assert cancelled
    wait.until(lambda: dropped(server, "cancelled") >= 1)
    oip.infer("wide", [tensor("x", np.ones((1, WIDTH), np.float32))])


def test_a_client_timeout_ends_its_call_in_the_server(busy):
    server, oip = busy
    small = [tensor("x", np.ones((1, WIDTH), np.float32))]
    answers = queue.Queue()
    patience = seconds_of_work(oip)
    for _ in range(BUSY_CALLS):
        oip.async_infer("wide", SLOW, lambda result, error: answers.put(error))
    wait.until(lambda: in_flight(server) == BUSY_CALLS)
    with fails(StatusCode.DEADLINE_EXCEEDED):
        oip.infer("wide", small, client_timeout=patience)
    late = queue.Queue()
    oip.async_infer(
        "wide",
        small,
        lambda result, error: late.put(error),
        client_timeout=patience,
    )
    error = late.get(timeout=60)
    assert error.status() == str(StatusCode.DEADLINE_EXCEEDED)
    with Client(server.address) as client:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(client.channel)
        request = infer_request("wide", x=np.ones((1, WIDTH), np.float32))
        stream = stub.ModelStreamInfer(iter([request]), timeout=patience)
        assert stream.code() == StatusCode.DEADLINE_EXCEEDED
    # The server has heard of it: when their turn comes, none is computed, and
    # none counts as given up by its client for another reason.
    errors = [answers.get(timeout=120) for _ in range(BUSY_CALLS)]
    assert errors == [None] * BUSY_CALLS
    wait.until(lambda: dropped(server, "deadline_exceeded") == 3)
    assert dropped(server, "cancelled") == 0
    wait.until(lambda: calls(server, code="DEADLINE_EXCEEDED") == 3)
    assert calls(server, code="CANCELLED") == 0
    oip.infer("wide", small)


# Overload


def retry_of(status):
    for detail in status.details:
        retry = error_details.RetryInfo()
        if detail.Unpack(retry):
            return retry.retry_delay.ToMilliseconds()
    return None


def test_overload_says_when_to_come_back(start_server):
    server = start_server(None, "--threads=1", "--queue-capacity=1")
    with Client(server.address) as client:
        client.upload_checkpoint(
            "wide", checkpoints.mlp(widths=(WIDTH, 6 * WIDTH, WIDTH))
        )
        client.load("wide", "checkpoints/wide")
        stub = service_pb2_grpc.GRPCInferenceServiceStub(client.channel)
        request = service_pb2.ModelInferRequest(
            model_name="wide",
            inputs=[SLOW[0]._get_tensor()],
            raw_input_contents=[SLOW[0]._get_content()],
        )
        calls = [stub.ModelInfer.future(request, timeout=60) for _ in range(8)]
        errors = [call.exception() for call in calls]
    refused = [error for error in errors if error is not None]
    assert 0 < len(refused) < 8
    for error in refused:
        assert error.code() == StatusCode.RESOURCE_EXHAUSTED
        trailing = dict(error.trailing_metadata())
        status = rpc_status.Status.FromString(
            trailing["grpc-status-details-bin"]
        )
        assert retry_of(status) > 0


# Security


def test_tls_and_a_token_through_tritonclient(start_server, tmp_path, x):
    authority = Authority(tmp_path)
    pair, mine = authority.issue("server"), authority.issue("me")
    token = "infer-0123456789abcdef"
    digest = hashlib.sha256(token.encode()).hexdigest()
    admin = "admin-0123456789abcdef"
    admins = hashlib.sha256(admin.encode()).hexdigest()
    token_file = tmp_path / "tokens"
    token_file.write_text(f"ci infer {digest}\nops admin {admins}\n")
    server = start_server(
        None,
        f"--token-file={token_file}",
        f"--tls-certificate={pair.certificate}",
        f"--tls-key={pair.key}",
        f"--tls-client-ca={authority.file}",
    )
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(
            authority.file.read_bytes(),
            mine.key.read_bytes(),
            mine.certificate.read_bytes(),
        ),
        grpc.access_token_call_credentials(admin),
    )
    with Client(server.address, credentials=credentials) as client:
        client.upload_checkpoint("mlp", checkpoints.mlp())
    secure = {
        "ssl": True,
        "root_certificates": str(authority.file),
        "private_key": str(mine.key),
        "certificate_chain": str(mine.certificate),
    }
    infer = {"authorization": f"Bearer {token}"}
    manage = {"authorization": f"Bearer {admin}"}
    inputs = [tensor("x", x)]
    with triton.InferenceServerClient(server.address, **secure) as oip:
        with fails(StatusCode.UNAUTHENTICATED):
            oip.is_server_live()
        assert oip.is_server_ready(headers=infer)
        with fails(StatusCode.PERMISSION_DENIED, "needs admin"):
            oip.load_model("mlp", headers=infer)
        oip.load_model("mlp", headers=manage)
        assert oip.infer("mlp", inputs, headers=infer).as_numpy("y").any()
        answers = queue.Queue()
        oip.start_stream(
            lambda result, error: answers.put((result, error)), headers=infer
        )
        oip.async_stream_infer("mlp", inputs)
        result, error = answers.get(timeout=60)
        assert error is None
        assert result.as_numpy("y").any()
        oip.stop_stream()
    without = secure | {"private_key": None, "certificate_chain": None}
    with (
        triton.InferenceServerClient(server.address, **without) as oip,
        fails(StatusCode.UNAVAILABLE),
    ):
        oip.is_server_live(headers=infer, client_timeout=10)

    async def ask():
        async with triton_aio.InferenceServerClient(
            server.address, **secure
        ) as oip:
            return await oip.infer("mlp", inputs, headers=infer)

    assert asyncio.run(ask()).as_numpy("y").any()
