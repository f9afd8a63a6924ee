"""Clients that are gone in the middle: of an upload, a calibration, a watch;
and streams that break off in the middle of what their clients send."""

import itertools
import random
import threading

import grpc
import numpy as np
import pytest

from support import broken_streams, wait
from support.api import pb
from support.bad_input import CODE, WEIGHTS
from support.client import Client, feature_inputs, upload_messages
from support.oip import infer_request

BROKEN_STREAMS = 400  # of each of the threads


def test_client_that_vanishes_while_it_uploads(prepared, server, still_serves):
    files = {WEIGHTS: bytes(3 << 20)}
    with Client(server.address) as vanishing:

        def messages():
            yield from itertools.islice(upload_messages("gone", files), 3)
            vanishing.close()

        with pytest.raises((grpc.RpcError, ValueError)):
            vanishing.checkpoints.UploadCheckpoint(messages(), timeout=30)
    still_serves()
    # What came is kept, and another client may go on from there, as soon as the
    # server has noticed.

    def refused():
        checkpoint = prepared.get_checkpoint("gone")
        assert checkpoint.state == pb.Checkpoint.STATE_UPLOADING
        received = checkpoint.files[0].received_bytes
        assert 0 <= received <= 2 << 20
        with pytest.raises(grpc.RpcError) as refusal:
            prepared.upload_checkpoint(
                "gone", files, received={WEIGHTS: received}
            )
        code = refusal.value.code()
        # Held by the vanished client yet, or longer than it was when asked.
        busy = code in (CODE.ABORTED, CODE.OUT_OF_RANGE)
        return None if busy else code

    code = wait.until(refused)
    assert code == CODE.INVALID_ARGUMENT  # zeros are no tensors


def test_client_that_vanishes_while_it_calibrates(
    prepared, server, still_serves
):
    prepared.create_calibration("gone", "mlp")
    batch = feature_inputs(np.ones((2, 48), np.float32))
    with Client(server.address) as vanishing:

        def batches():
            yield batch
            yield batch
            vanishing.close()

        with pytest.raises((grpc.RpcError, ValueError)):
            vanishing.upload_batches("gone", batches())
    still_serves()
    assert prepared.get_calibration("gone").batch_count <= 2


def test_client_that_vanishes_while_it_watches(prepared, server, still_serves):
    operation = prepared.start_quantization("mlp", "watched")
    with Client(server.address) as vanishing:
        watch = vanishing.watch(operation.name)
        next(watch)
    still_serves()
    *_, last = prepared.watch(operation.name)
    assert last.state == pb.Operation.STATE_SUCCEEDED


def test_streams_that_break_off_while_requests_still_come(
    server, prepared, still_serves
):
    x = np.ones((200, 48), np.float32)
    goods = (
        broken_streams.matmul("mlp", "fc1", x),
        infer_request("mlp", x=x).SerializeToString(),
    )
    codes = set()

    def break_off(seed):
        rng = random.Random(seed)
        with Client(server.address) as client:
            for _ in range(BROKEN_STREAMS):
                which = rng.randrange(2)
                codes.add(
                    broken_streams.break_off(
                        client,
                        broken_streams.METHODS[which],
                        goods[which],
                        rng,
                    )
                )

    threads = [threading.Thread(target=break_off, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.running()
    assert codes == {CODE.INVALID_ARGUMENT}
    still_serves()
