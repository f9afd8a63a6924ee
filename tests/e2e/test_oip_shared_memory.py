"""Tensors in POSIX shared memory, as tritonclient passes them; and what a
client can do wrong with it."""

import os
import threading

import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc import StatusCode
from tritonclient.utils import InferenceServerException
from tritonclient.utils import shared_memory as shm

from support import checkpoints
from support.client import Client, feature_inputs
from support.oip import fails, padded, tensor
from support.server import Server
from support.shared_memory import in_region, memory, to_region

ROWS = 6
X_BYTES = ROWS * 48 * 4
Y_BYTES = ROWS * 16 * 4


@pytest.fixture(scope="module")
def sharing(tmp_path_factory):
    """(server, octet.v1's client): shared memory is allowed."""
    server = Server(tmp_path_factory.mktemp("data"), "--allow-shared-memory")
    with Client(server.address) as client:
        client.serve_floats(mlp=checkpoints.mlp(), bert=checkpoints.bert())
        yield server, client
    server.kill()


@pytest.fixture
def oip(sharing):
    with triton.InferenceServerClient(sharing[0].address) as client:
        client.unregister_system_shared_memory()
        yield client
        client.unregister_system_shared_memory()


def x_in(region, offset=0, byte_size=X_BYTES, rows=ROWS):
    return [in_region("x", [rows, 48], "FP32", region, byte_size, offset)]


@pytest.fixture
def rows():
    return np.random.default_rng(4).normal(0, 1, (ROWS, 48)).astype(np.float32)


def test_it_is_off_unless_the_server_allows_it(server, prepared):
    with (
        triton.InferenceServerClient(server.address) as oip,
        memory(64) as (key, _),
    ):
        with fails(StatusCode.FAILED_PRECONDITION, "--allow-shared-memory"):
            oip.register_system_shared_memory("r", key, 64)
        with fails(StatusCode.FAILED_PRECONDITION, "--allow-shared-memory"):
            oip.infer("mlp", x_in("r"))
        assert not oip.get_system_shared_memory_status().regions
        oip.unregister_system_shared_memory()


def test_inputs_and_outputs_in_one_region(oip, sharing, rows):
    assert "system_shared_memory" in oip.get_server_metadata().extensions
    start = 12  # where nothing is aligned to more than 4
    with memory(start + X_BYTES + Y_BYTES) as (key, handle):
        shm.set_shared_memory_region(handle, [rows], offset=start)
        oip.register_system_shared_memory(
            "both", key, X_BYTES + Y_BYTES, offset=start
        )
        region = oip.get_system_shared_memory_status("both").regions["both"]
        assert (region.key, region.offset) == (key, start)
        assert region.byte_size == X_BYTES + Y_BYTES
        expected = sharing[1].forward("mlp", feature_inputs(rows))
        result = oip.infer(
            "mlp",
            x_in("both"),
            outputs=[to_region("y", "both", Y_BYTES, X_BYTES)],
        )
        response = result.get_response()
        assert list(response.raw_output_contents) == [b""]
        (y,) = response.outputs
        assert list(y.shape) == [ROWS, 16]
        assert y.parameters["shared_memory_region"].string_param == "both"
        assert y.parameters["shared_memory_offset"].int64_param == X_BYTES
        np.testing.assert_array_equal(
            shm.get_contents_as_numpy(
                handle, np.float32, [ROWS, 16], start + X_BYTES
            ),
            expected,
        )


def test_some_tensors_in_memory_and_some_not(oip, sharing):
    ids, mask = padded([[1, 2, 3], [4]])
    with memory(mask.nbytes) as (key, handle):
        shm.set_shared_memory_region(handle, [ids])
        oip.register_system_shared_memory("ids", key, ids.nbytes)
        result = oip.infer(
            "bert",
            [
                in_region("input_ids", ids.shape, "INT64", "ids", ids.nbytes),
                tensor("attention_mask", mask),
            ],
        )
    np.testing.assert_array_equal(
        result.as_numpy("sentence_embedding"),
        sharing[1].embed("bert", [[1, 2, 3], [4]]),
    )


def test_regions_that_cannot_be_are_refused(oip):
    most = (1 << 64) - 1
    with memory(4096) as (key, _):
        for byte_size, offset in (
            (4097, 0),
            (1, 4096),
            (4096, 1),
            (most, 1),
            (2, most),
            (0, 0),
        ):
            with fails(StatusCode.INVALID_ARGUMENT, "byte_size"):
                oip.register_system_shared_memory("r", key, byte_size, offset)
        oip.register_system_shared_memory("r", key, 4096)
        with fails(StatusCode.ALREADY_EXISTS, "'r'"):
            oip.register_system_shared_memory("r", key, 4096)
    for key in ("", "/", "/../etc/passwd", "a/b", "/a\0b", "x" * 300):
        with fails(StatusCode.INVALID_ARGUMENT, "key"):
            oip.register_system_shared_memory("q", key, 64)
    with fails(StatusCode.NOT_FOUND, "no memory object"):
        oip.register_system_shared_memory("q", "/octet-no-such-thing", 64)
    with fails(StatusCode.NOT_FOUND, "region 'q'"):
        oip.get_system_shared_memory_status("q")
    oip.unregister_system_shared_memory("q")


def test_tensors_stay_inside_their_region(oip, rows):
    with memory(X_BYTES + Y_BYTES) as (key, handle):
        shm.set_shared_memory_region(handle, [rows])
        oip.register_system_shared_memory("r", key, X_BYTES)
        invalid = StatusCode.INVALID_ARGUMENT
        with fails(invalid, "x", "beyond the region"):
            oip.infer("mlp", x_in("r", offset=4))
        with fails(invalid, "x", "beyond the region"):
            oip.infer("mlp", x_in("r", offset=(1 << 63) - 4))
        with fails(invalid, "x.parameters.shared_memory_byte_size"):
            oip.infer("mlp", x_in("r", byte_size=X_BYTES - 4))
        with fails(invalid, "y", "beyond the region"):
            oip.infer(
                "mlp",
                [tensor("x", rows)],
                outputs=[to_region("y", "r", Y_BYTES, X_BYTES)],
            )
        with fails(invalid, "y.parameters.shared_memory_byte_size", "takes"):
            oip.infer(
                "mlp",
                [tensor("x", rows)],
                outputs=[to_region("y", "r", Y_BYTES - 4)],
            )
        with fails(StatusCode.NOT_FOUND, "region 'gone'"):
            oip.infer("mlp", x_in("gone"))


def test_memory_that_shrinks_under_the_server_is_an_error(oip, sharing, rows):
    with memory(X_BYTES) as (key, handle):
        shm.set_shared_memory_region(handle, [rows])
        oip.register_system_shared_memory("r", key, X_BYTES)
        oip.infer("mlp", x_in("r"))
        os.truncate(f"/dev/shm{key}", 16)
        with fails(StatusCode.INVALID_ARGUMENT, "smaller"):
            oip.infer("mlp", x_in("r"))
        with fails(StatusCode.INVALID_ARGUMENT, "smaller"):
            oip.infer(
                "mlp",
                [tensor("x", rows)],
                outputs=[to_region("y", "r", Y_BYTES)],
            )
        assert os.stat(f"/dev/shm{key}").st_size == 16
    assert sharing[0].running()


def test_unregistering_during_use_is_safe(oip, sharing, rows):
    """Every request either has the region to its end or never had it."""
    expected = sharing[1].forward("mlp", feature_inputs(rows))
    with memory(X_BYTES) as (key, handle):
        shm.set_shared_memory_region(handle, [rows])
        stop = threading.Event()

        def flip():
            with triton.InferenceServerClient(sharing[0].address) as other:
                while not stop.is_set():
                    other.register_system_shared_memory("r", key, X_BYTES)
                    other.unregister_system_shared_memory("r")

        thread = threading.Thread(target=flip)
        thread.start()
        answered = refused = 0
        try:
            for _ in range(300):
                try:
                    y = oip.infer("mlp", x_in("r")).as_numpy("y")
                except InferenceServerException as error:
                    assert error.status() == str(StatusCode.NOT_FOUND)
                    refused += 1
                else:
                    np.testing.assert_array_equal(y, expected)
                    answered += 1
        finally:
            stop.set()
            thread.join()
        assert answered + refused == 300
        assert answered
    assert sharing[0].running()
