"""What is bounded, each bound met by a real client: what one client has in
flight, streams of a connection, headers, memory; and what the system bounds,
threads. Answers: test_answer_limits.
"""

import os
import threading

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc import StatusCode

from support import checkpoints, wait
from support.api import error_details, pb
from support.client import Client, feature_inputs, tensor
from support.errors import detail_in, details_of
from support.paths import binary
from support.prometheus_text import Samples
from support.resting import Resting

MIB = 1 << 20
EXHAUSTED = StatusCode.RESOURCE_EXHAUSTED
SANITIZED = "san" in os.environ.get("OCTET_BUILD_DIR", "")


def serve(start_server, *flags, **models):
    """`models`: files of checkpoints, by name."""
    server = start_server(None, *flags)
    with Client(server.address) as client:
        client.serve_floats(**models)
    return server


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


def test_a_refused_stream_ends_before_it_sends_anything(start_server):
    """And asking whether the server lives is not refused, nor counted so."""
    server = serve(start_server, "--client-max-calls=1")

    def limited():
        return Samples(server.metrics_text()).get(
            "octet_client_limited_total", limit="calls"
        )

    with (
        Client(server.address) as client,
        triton.InferenceServerClient(server.address) as oip,
    ):
        resting = Resting(client, 1)
        resting.wait_until_seen(server)
        nothing = threading.Event()
        upload = Resting(client, 1)
        assert upload.calls[0].exception(timeout=30).code() == EXHAUSTED
        products = client.inference.StreamMatMul(
            iter(nothing.wait, True), timeout=30
        )
        with pytest.raises(grpc.RpcError) as error:
            next(products)
        assert error.value.code() == EXHAUSTED
        assert limited() == 2
        assert oip.is_server_live()
        assert limited() == 2
        nothing.set()
        for ended in (resting, upload):
            ended.end()


def test_streams_of_a_connection_are_bounded(start_server):
    server = serve(start_server, "--max-connection-streams=2")
    list_models = pb.ListModelsRequest()
    with Client(server.address) as client, Client(server.address) as other:
        resting = Resting(client, 2)
        resting.wait_until_seen(server)
        with pytest.raises(grpc.RpcError) as error:
            client.models.ListModels(list_models, timeout=1)
        assert error.value.code() == StatusCode.DEADLINE_EXCEEDED
        other.models.ListModels(list_models, timeout=30)
        resting.end()
        client.models.ListModels(list_models, timeout=30)


def refusal(client, header_bytes):
    """None, or the code that it failed with."""
    try:
        client.models.ListModels(
            pb.ListModelsRequest(),
            metadata=(("x-mine", "x" * header_bytes),),
            timeout=30,
        )
    except grpc.RpcError as error:
        return error.code()
    return None


def test_headers_of_a_call_are_bounded(start_server):
    """gRPC 1.51 refuses the call, and where the headers came in two reads it
    ends their connection, too: others go on, and their client may come back."""
    server = serve(start_server, "--max-metadata-bytes=2048")
    with Client(server.address) as client, Client(server.address) as other:
        for each in (client, other):
            assert refusal(each, 1000) is None
        refused = refusal(client, 4000)
        assert refused in (EXHAUSTED, StatusCode.UNAVAILABLE)
        assert refusal(other, 1000) is None
        wait.until(lambda: refusal(client, 1000) is None)


def test_waiting_quantizations_hold_no_calibration(start_server):
    """16 of them, with a calibration of 64 MiB."""
    rows, width = 16384, 1024
    server = start_server(None)
    x = np.random.default_rng(5).normal(0, 1, (rows, width)).astype("f4")
    with Client(server.address) as client:
        client.upload_checkpoint(
            "wide", checkpoints.mlp(widths=(width, 64, 16))
        )
        client.create_calibration(
            "wide", "wide", options=pb.CalibrationOptions(kept_rows=rows)
        )
        client.upload_batches(
            "wide", [feature_inputs(part) for part in np.split(x, 16)]
        )
        before = server.resident_bytes()
        gptq = pb.QuantizationMethods(rounding=pb.ROUNDING_GPTQ)
        jobs = [
            client.start_quantization("wide", f"b{i}", "wide", methods=gptq)
            for i in range(16)
        ]
        # One of them runs.
        assert server.resident_bytes() < before + 640 * MIB
        # What it was when it was asked for is what counts.
        client.calibrations.DeleteCalibration(
            pb.DeleteCalibrationRequest(name="calibrations/wide"), timeout=60
        )
        for job in jobs[1:-1]:
            # One that is done already is no failure.
            client.quantization.CancelOperation.future(
                pb.CancelOperationRequest(name=job.name), timeout=60
            ).exception()
        *_, last = client.watch(jobs[-1].name)
        assert last.state == pb.Operation.STATE_SUCCEEDED, last
        assert client.report("b15").calibration_samples == rows


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


# 8 GiB are the stacks of one's pool; 3 those of the other's, and as much its
# scheduler's.
@pytest.mark.skipif(SANITIZED, reason="a sanitizer takes the address space")
@pytest.mark.parametrize("threads", [1024, 400])
def test_more_threads_than_the_system_starts(start_server, threads):
    limited = 'ulimit -s 8192; ulimit -v 6000000; exec "$@"'
    says = rf"exited with 1 (.|\n)*--threads: .*all the threads that {threads}"
    with pytest.raises(RuntimeError, match=says):
        start_server(
            None,
            f"--threads={threads}",
            command=["bash", "-c", limited, "bash", binary("octet-server")],
        )
