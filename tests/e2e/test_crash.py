"""SIGKILL at random moments of upload, calibration and quantization: the
server starts clean, nothing published is lost, uploads resume."""

import itertools
import random
import threading
import time

import grpc
import numpy as np
import pytest

from support import checkpoints, wait
from support.api import pb
from support.client import Client, feature_inputs, upload_messages

ROUNDS = 5
WIDTH = 768
BROKEN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
)


@pytest.fixture
def crashing_server(start_server):
    """Serves a small published model that must survive everything."""
    server = start_server()
    with Client(server.address) as client:
        client.upload_checkpoint("kept", checkpoints.mlp())
        client.create_calibration("kept", "kept")
        client.upload_batches("kept", [feature_inputs(probe(48, 100))])
        client.quantize("kept", "kept", "kept")
        client.load("kept", "bundles/kept")
        server.kept_answer = client.forward("kept", feature_inputs(probe(48)))
    return server


def probe(width, rows=7):
    rng = np.random.default_rng(width)
    return rng.normal(0, 1, (rows, width)).astype(np.float32)


def kept_is_kept(server):
    with Client(server.address) as client:
        np.testing.assert_array_equal(
            client.forward("kept", feature_inputs(probe(48))),
            server.kept_answer,
        )
        assert client.get_calibration("kept").sample_count == 100
        for bundle in client.bundles.ListBundles(
            pb.ListBundlesRequest(), timeout=60
        ).bundles:
            # Whatever is listed is whole: it loads, digests and all.
            model = bundle.name.removeprefix("bundles/")
            client.load(f"check-{model}", bundle.name)
            client.unload(f"check-{model}")


def crash_during(server, work, after):
    """Kills the server `after` seconds into `work(client)`; whether the work
    was done before that."""
    with Client(server.address) as client:
        killer = threading.Timer(after, server.kill)
        killer.start()
        try:
            work(client)
            done = True
        except grpc.RpcError as error:
            assert error.code() in BROKEN, error
            done = False
        killer.join()
    server.start()
    return done


@pytest.fixture(scope="module")
def wide_files():
    """About 21 MB of weights."""
    return checkpoints.mlp(widths=(WIDTH, 4 * WIDTH, WIDTH))


def how_long(work) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def moments(seed, duration):
    """Random moments from the very first to just after the end."""
    rng = random.Random(seed)
    return [duration * rng.uniform(0.02, 1.1) for _ in range(ROUNDS)]


def test_crash_while_uploading(crashing_server, wide_files):
    server = crashing_server
    with Client(server.address) as client:
        duration = how_long(
            lambda: client.upload_checkpoint(
                "measure", wide_files, size=1 << 18
            )
        )
    for i, moment in enumerate(moments(1, duration)):
        name = f"upload-{i}"
        crash_during(
            server,
            lambda client, name=name: client.upload_checkpoint(
                name, wide_files, size=1 << 18
            ),
            moment,
        )
        kept_is_kept(server)
        with Client(server.address) as client:
            received = {}
            try:
                held = client.get_checkpoint(name)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.NOT_FOUND
            else:
                if held.state == pb.Checkpoint.STATE_ACTIVE:
                    continue
                received = {f.path: f.received_bytes for f in held.files}
            done = client.upload_checkpoint(name, wide_files, received=received)
            assert done.state == pb.Checkpoint.STATE_ACTIVE


def test_upload_interrupted_midway_resumes_from_what_the_server_holds(
    crashing_server, wide_files
):
    """The deterministic half of the case above: bytes that were received
    before the kill are not sent again."""
    server = crashing_server
    weights = "model.safetensors"
    held = threading.Event()

    def messages():
        size = 1 << 18
        yield from itertools.islice(
            upload_messages("half", wide_files, size=size), 42
        )
        held.wait(60)

    def received(client):
        try:
            files = client.get_checkpoint("half").files
        except grpc.RpcError:
            return 0
        return {f.path: f.received_bytes for f in files}.get(weights, 0)

    with Client(server.address) as client:
        call = client.checkpoints.UploadCheckpoint.future(
            messages(), timeout=60
        )
        wait.until(lambda: received(client) >= 10 << 20)
        server.kill()
        held.set()
        assert call.exception().code() in BROKEN
    server.start()
    with Client(server.address) as client:
        files = client.get_checkpoint("half").files
        have = {f.path: f.received_bytes for f in files}
        assert have[weights] >= 10 << 20
        done = client.upload_checkpoint("half", wide_files, received=have)
        assert done.state == pb.Checkpoint.STATE_ACTIVE
        client.load("half", "checkpoints/half")
    kept_is_kept(server)


def test_crash_after_the_last_byte_costs_nothing(crashing_server, wide_files):
    """While what came is digested, checked, synced and published."""
    server = crashing_server
    held = threading.Event()

    def messages(name):
        yield from upload_messages(name, wide_files)
        held.wait(60)

    def is_whole(client, name):
        try:
            files = client.get_checkpoint(name).files
        except grpc.RpcError:
            return False
        return all(f.received_bytes == f.size_bytes for f in files)

    for i, moment in enumerate(moments(4, 0.1)):
        name = f"whole-{i}"
        held.clear()
        with Client(server.address) as client:
            call = client.checkpoints.UploadCheckpoint.future(
                messages(name), timeout=60
            )
            wait.until(lambda c=client, n=name: is_whole(c, n))
            held.set()
            time.sleep(moment)
            server.kill()
            assert call.exception() is None or call.exception().code() in BROKEN
        server.start()
        with Client(server.address) as client:
            assert is_whole(client, name)
            left = client.get_checkpoint(name)
            if left.state == pb.Checkpoint.STATE_UPLOADING:
                received = {f.path: f.received_bytes for f in left.files}
                left = client.upload_checkpoint(
                    name, wide_files, received=received
                )
            assert left.state == pb.Checkpoint.STATE_ACTIVE
    kept_is_kept(server)


def test_crash_while_calibrating(crashing_server, wide_files):
    server = crashing_server
    batches = [feature_inputs(probe(WIDTH, 64)) for _ in range(40)]
    with Client(server.address) as client:
        client.upload_checkpoint("wide", wide_files)
        client.create_calibration("measure", "wide")
        duration = how_long(lambda: client.upload_batches("measure", batches))
    for i, moment in enumerate(moments(2, duration)):
        name = f"calibration-{i}"
        with Client(server.address) as client:
            client.create_calibration(name, "wide")
        done = crash_during(
            server,
            lambda client, name=name: client.upload_batches(name, batches),
            moment,
        )
        kept_is_kept(server)
        with Client(server.address) as client:
            calibration = client.get_calibration(name)
            # Whole batches, and all of them if the call had returned.
            count = calibration.batch_count
            assert calibration.sample_count == 64 * count
            assert count == 40 if done else count <= 40
            for layer in calibration.layers:
                assert layer.row_count == 64 * count
            client.upload_batches(name, batches[:1])
            assert client.get_calibration(name).batch_count == count + 1


def test_crash_while_quantizing(crashing_server, wide_files):
    server = crashing_server
    with Client(server.address) as client:
        client.upload_checkpoint("wide", wide_files)
        client.create_calibration("wide", "wide")
        client.upload_batches("wide", [feature_inputs(probe(WIDTH, 128))])
        duration = how_long(lambda: client.quantize("wide", "measure", "wide"))
    for i, moment in enumerate(moments(3, duration)):
        bundle = f"bundle-{i}"
        crash_during(
            server,
            lambda client, bundle=bundle: client.quantize(
                "wide", bundle, "wide", scheme=pb.SCHEME_LLM_INT8
            ),
            moment,
        )
        kept_is_kept(server)
        with Client(server.address) as client:
            operations = client.quantization.ListOperations(
                pb.ListOperationsRequest(), timeout=60
            ).operations
            bundles = [
                b.name
                for b in client.bundles.ListBundles(
                    pb.ListBundlesRequest(), timeout=60
                ).bundles
            ]
            for operation in operations:
                assert operation.state in (
                    pb.Operation.STATE_SUCCEEDED,
                    pb.Operation.STATE_FAILED,
                )
                if operation.state == pb.Operation.STATE_FAILED:
                    assert (
                        operation.error.code == grpc.StatusCode.ABORTED.value[0]
                    )
                else:
                    assert operation.bundle in bundles
            if f"bundles/{bundle}" not in bundles:
                again = client.quantize("wide", bundle, "wide")
                assert again.state == pb.Operation.STATE_SUCCEEDED, again


def test_nothing_is_left_lying_around(crashing_server, wide_files):
    """What a killed quantization had written is gone after the restart."""
    server = crashing_server
    with Client(server.address) as client:
        client.upload_checkpoint("wide", wide_files)
        start = time.monotonic()
        client.quantize("wide", "measure")
        duration = time.monotonic() - start
        client.start_quantization("wide", "killed")
        time.sleep(duration / 2)
    server.restart()
    with Client(server.address) as client:
        bundles = [
            b.name
            for b in client.bundles.ListBundles(
                pb.ListBundlesRequest(), timeout=60
            ).bundles
        ]
    if "bundles/killed" not in bundles:
        left = [
            path
            for path in server.data_dir.rglob("*")
            if "killed" in path.parts
        ]
        assert not left
