"""What is bounded, each bound met by a real client: answers, what one client
has in flight, streams of a connection, headers, memory."""

import queue
import resource
import threading

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc import StatusCode

from support import checkpoints, wait
from support.api import error_details, pb, rpc_status
from support.client import Client, feature_inputs, tensor
from support.oip import fails, tokens, wanted
from support.oip import tensor as oip_tensor
from support.prometheus_text import Samples
from support.server import Server

MIB = 1 << 20
EXHAUSTED = StatusCode.RESOURCE_EXHAUSTED


def serve(start_server, *flags, **models):
    """`models`: files of checkpoints, by name."""
    server = start_server(None, *flags)
    with Client(server.address) as client:
        for name, files in models.items():
            client.upload_checkpoint(name, files)
            client.load(name, f"checkpoints/{name}")
    return server


def details_of(error, kind):
    """The detail of that kind that an error has, or None."""
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            return detail_in(rpc_status.Status.FromString(value), kind)
    return None


def detail_in(status, kind):
    for detail in status.details:
        message = kind()
        if detail.Unpack(message):
            return message
    return None


# Answers


@pytest.fixture(scope="module")
def small_answers(tmp_path_factory):
    """At most 1 MiB: 8192 rows of "bert", 4096 of "mlp"'s fc1."""
    server = Server(tmp_path_factory.mktemp("data"), "--max-answer-mib=1")
    with Client(server.address) as client:
        for name, files in (
            ("mlp", checkpoints.mlp()),
            ("bert", checkpoints.bert()),
        ):
            client.upload_checkpoint(name, files)
            client.load(name, f"checkpoints/{name}")
        yield client
    server.kill()


@pytest.fixture
def oip(small_answers):
    target = small_answers.channel._channel.target().decode()
    with triton.InferenceServerClient(target.removeprefix("dns:///")) as oip:
        yield oip


SAYS = ("the answer would take", "--max-answer-mib", "ask for less")


def refuses(call, field):
    with pytest.raises(grpc.RpcError) as error:
        call()
    assert error.value.code() == StatusCode.INVALID_ARGUMENT
    for text in SAYS:
        assert text in error.value.details()
    request = details_of(error.value, error_details.BadRequest)
    assert request.field_violations[0].field == field


@pytest.mark.parametrize(
    "output", [pb.OUTPUT_KIND_HIDDEN_STATES, pb.OUTPUT_KIND_MODEL]
)
def test_forward_does_not_compute_what_is_too_large(small_answers, output):
    short = [[1]] * 8192
    assert len(small_answers.embed("bert", short, output=output)) == 8192
    before = small_answers.models.GetModelStats(
        pb.GetModelStatsRequest(name="models/bert")
    ).row_count
    refuses(
        lambda: small_answers.embed("bert", [*short, [1]], output=output),
        "inputs",
    )
    after = small_answers.models.GetModelStats(
        pb.GetModelStatsRequest(name="models/bert")
    ).row_count
    assert after == before


def test_products_are_bounded_and_a_stream_goes_on(small_answers):
    x = np.ones((4097, 48), np.float32)
    assert len(small_answers.matmul("mlp", "fc1", x[1:])) == 4096
    refuses(lambda: small_answers.matmul("mlp", "fc1", x), "x")
    half = pb.Tensor(
        type=pb.DATA_TYPE_F16,
        shape=x.shape,
        data=x.astype(np.float16).tobytes(),
    )
    refuses(lambda: small_answers.matmul("mlp", "fc1", half), "x")
    requests = [
        pb.StreamMatMulRequest(
            id=str(rows),
            request=pb.MatMulRequest(
                model="models/mlp", layer="fc1", x=tensor(x[:rows])
            ),
        )
        for rows in (1, 4097, 2)
    ]
    one, large, two = small_answers.inference.StreamMatMul(
        iter(requests), timeout=60
    )
    assert list(one.response.y.shape) == [1, 64]
    assert large.status.code == StatusCode.INVALID_ARGUMENT.value[0]
    assert large.status.message.startswith("request.x: the answer would take")
    assert list(two.response.y.shape) == [2, 64]


def test_padding_counts_as_much_as_tokens(oip):
    """100 sequences of one token, padded to 90: 9000 rows of an answer."""
    padded = tokens([[1]] * 100, 90)
    hidden = wanted("last_hidden_state")
    with fails(StatusCode.INVALID_ARGUMENT, "outputs: ", *SAYS):
        oip.infer("bert", padded, outputs=hidden)
    embeddings = wanted("sentence_embedding")
    assert oip.infer("bert", padded, outputs=embeddings).as_numpy(
        "sentence_embedding"
    ).shape == (100, 32)
    assert oip.infer("bert", tokens([[1]] * 100, 80), outputs=hidden).as_numpy(
        "last_hidden_state"
    ).shape == (100, 80, 32)
    with fails(StatusCode.INVALID_ARGUMENT, "outputs: ", *SAYS):
        oip.infer("mlp.fc1", [oip_tensor("x", np.ones((4097, 48), "f4"))])


def test_outputs_count_together(oip):
    """8000 hidden rows are 0.98 MiB, 1000 embeddings 0.12 MiB more."""
    ids = tokens([[1]] * 1000, 8)
    oip.infer("bert", ids, outputs=wanted("last_hidden_state"))
    with fails(StatusCode.INVALID_ARGUMENT, *SAYS):
        oip.infer("bert", ids)


def test_a_stream_says_it_in_its_answer(oip):
    answers = queue.Queue()
    oip.start_stream(lambda result, error: answers.put((result, error)))
    hidden = wanted("last_hidden_state")
    oip.async_stream_infer("bert", tokens([[1]] * 100, 90), outputs=hidden)
    oip.async_stream_infer("bert", tokens([[1]] * 2, 90), outputs=hidden)
    _, error = answers.get(timeout=60)
    assert error.message().startswith("INVALID_ARGUMENT: outputs: the answer")
    result, error = answers.get(timeout=60)
    assert error is None
    assert result.as_numpy("last_hidden_state").shape == (2, 90, 32)
    oip.stop_stream()


def address_space(process) -> int:
    with open(f"/proc/{process.pid}/status") as status:
        (line,) = [text for text in status if text.startswith("VmSize:")]
    return int(line.split()[1]) * 1024


def test_an_answer_without_memory_is_refused_and_the_server_lives(
    start_server,
):
    """In pieces and whole: the operating system gives no more, and the answer
    is one that --max-answer-mib allows."""
    server = serve(
        start_server,
        "--max-answer-mib=2047",
        "--threads=1",
        narrow=checkpoints.mlp(widths=(8, 8, 16384)),
    )
    taken = address_space(server.process)
    if taken > 1 << 40:
        pytest.skip("a sanitizer has taken the address space")
    limit = taken + 300 * MIB
    resource.prlimit(server.process.pid, resource.RLIMIT_AS, (limit, limit))
    rows = np.ones((20000, 8), np.float32)  # 1.2 GiB of answers
    with Client(server.address) as client:
        for call in (
            lambda: client.forward("narrow", feature_inputs(rows)),
            lambda: client.matmul("narrow", "fc2", rows),
        ):
            with pytest.raises(grpc.RpcError) as error:
                call()
            assert error.value.code() == EXHAUSTED
            assert "memory" in error.value.details()
        y = client.forward("narrow", feature_inputs(rows[:10]))
        assert y.shape == (10, 16384)
    assert server.running()


# Clients


def test_what_a_client_has_in_flight_is_bounded(start_server):
    """2 MiB of requests at a time, on one thread that takes its time."""
    wide = checkpoints.mlp(widths=(1024, 6144, 1024))
    server = serve(start_server, "--threads=1", "--client-max-mib=2", wide=wide)
    request = pb.ForwardRequest(
        model="models/wide",
        inputs=feature_inputs(np.ones((256, 1024), np.float32)),
    )
    with Client(server.address) as client:
        calls = [
            client.inference.Forward.future(request, timeout=60)
            for _ in range(16)
        ]
        errors = [call.exception() for call in calls]
        refused = [error for error in errors if error is not None]
        assert 0 < len(refused) < 16
        for error in refused:
            assert error.code() == EXHAUSTED
            assert "2097152 bytes of requests and answers" in error.details()
            retry = details_of(error, error_details.RetryInfo)
            assert retry.retry_delay.ToMilliseconds() > 0
        limited = Samples(server.metrics_text()).get(
            "octet_client_limited_total", limit="bytes"
        )
        assert limited == len(refused)
        client.inference.Forward(request, timeout=60)


def test_answers_that_nobody_reads_count_for_their_client(start_server):
    """Small requests, answers of 0.9 MiB each: the second one is too much."""
    server = serve(
        start_server,
        "--client-max-mib=1",
        narrow=checkpoints.mlp(widths=(8, 8, 4096)),
    )
    requests = [
        pb.StreamMatMulRequest(
            id=str(i),
            request=pb.MatMulRequest(
                model="models/narrow", layer="fc2", x=tensor(np.ones((57, 8)))
            ),
        )
        for i in range(20)
    ]
    with Client(server.address) as client:
        call = client.inference.StreamMatMul(iter(requests), timeout=60)
        wait.until(
            lambda: (
                Samples(server.metrics_text()).get(
                    "octet_client_limited_total", limit="bytes"
                )
                > 0
            ),
            "all answers were held",
        )
        answers = list(call)
    assert [answer.id for answer in answers] == [str(i) for i in range(20)]
    refused = [a for a in answers if a.HasField("status")]
    assert not answers[0].HasField("status")
    assert refused
    for answer in refused:
        assert answer.status.code == EXHAUSTED.value[0]
        assert detail_in(answer.status, error_details.RetryInfo)


# Connections


class Resting:
    """Uploads that go on until they are released."""

    def __init__(self, client, count):
        self.release = threading.Event()
        self.calls = [
            client.checkpoints.UploadCheckpoint.future(self._rest(), timeout=90)
            for _ in range(count)
        ]

    def _rest(self):
        self.release.wait(60)
        yield from ()

    def end(self):
        self.release.set()
        for call in self.calls:
            call.exception()


def test_streams_of_a_connection_are_bounded(start_server):
    server = serve(start_server, "--max-connection-streams=2")
    list_models = pb.ListModelsRequest()
    with Client(server.address) as client, Client(server.address) as other:
        resting = Resting(client, 2)
        wait.until(
            lambda: (
                Samples(server.metrics_text()).get(
                    "octet_rpc_in_flight",
                    method="CheckpointService/UploadCheckpoint",
                )
                == 2
            ),
            "the uploads never came",
        )
        with pytest.raises(grpc.RpcError) as error:
            client.models.ListModels(list_models, timeout=1)
        assert error.value.code() == StatusCode.DEADLINE_EXCEEDED
        other.models.ListModels(list_models, timeout=30)
        resting.end()
        client.models.ListModels(list_models, timeout=30)


def test_headers_of_a_call_are_bounded(start_server):
    server = serve(start_server, "--max-metadata-bytes=2048")
    with Client(server.address) as client:

        def list_models(size):
            client.models.ListModels(
                pb.ListModelsRequest(),
                metadata=(("x-mine", "x" * size),),
                timeout=30,
            )

        list_models(1000)
        with pytest.raises(grpc.RpcError) as error:
            list_models(4000)
        assert error.value.code() == EXHAUSTED
        list_models(1000)


def test_memory_of_grpc_is_bounded_and_the_server_lives(start_server):
    """48 messages of 16 MiB at once, and 64 MiB to receive them in."""
    server = serve(
        start_server,
        "--grpc-memory-mib=64",
        "--client-max-mib=0",
        mlp=checkpoints.mlp(),
    )
    before = server.resident_bytes()
    rows = (16 << 20) // (48 * 4)
    request = pb.MatMulRequest(
        model="models/mlp",
        layer="fc2",  # of another width: it is only received
        x=tensor(np.ones((rows, 48), np.float32)),
    )
    most = 0
    with Client(server.address) as client:
        # Several times: only some orders of letting go of memory that gRPC
        # counts bring its reclaimers into play.
        for _ in range(4):
            calls = [
                client.inference.MatMul.future(request, timeout=120)
                for _ in range(48)
            ]
            while not all(call.done() for call in calls):
                assert server.running(), server.log_text()
                most = max(most, server.resident_bytes())
            codes = {call.exception().code() for call in calls}
            assert codes <= {
                StatusCode.INVALID_ARGUMENT,
                EXHAUSTED,
                StatusCode.UNAVAILABLE,
            }, codes
        assert most - before < 400 * MIB
        y = client.matmul("mlp", "fc1", np.ones((3, 48), np.float32))
        assert y.shape == (3, 64)
