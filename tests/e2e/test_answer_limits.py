"""An answer that would be too large is refused before it is computed, by every
way to ask; and one that there is no memory for is an error, not an end."""

import queue
import resource

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc import StatusCode

from support import checkpoints
from support.api import error_details, pb
from support.client import Client, feature_inputs, tensor
from support.errors import details_of
from support.oip import fails, tokens, wanted
from support.oip import tensor as oip_tensor
from support.server import Server

MIB = 1 << 20
EXHAUSTED = StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module")
def small_answers(tmp_path_factory):
    """At most 1 MiB: 8192 rows of "bert", 4096 of "mlp"'s fc1."""
    server = Server(tmp_path_factory.mktemp("data"), "--max-answer-mib=1")
    with Client(server.address) as client:
        client.serve_floats(mlp=checkpoints.mlp(), bert=checkpoints.bert())
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
    server = start_server(
        None, "--max-answer-mib=2047", "--client-max-mib=0", "--threads=1"
    )
    with Client(server.address) as client:
        client.serve_floats(narrow=checkpoints.mlp(widths=(8, 8, 16384)))
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
