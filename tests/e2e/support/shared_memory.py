"""POSIX shared memory, as tritonclient passes tensors in it."""

import contextlib
import uuid

import tritonclient.grpc as triton
from tritonclient.utils import shared_memory as shm


@contextlib.contextmanager
def memory(byte_size):
    """(key, handle) of a new object."""
    key = f"/octet-test-{uuid.uuid4().hex}"
    handle = shm.create_shared_memory_region("test", key, byte_size)
    try:
        yield key, handle
    finally:
        shm.destroy_shared_memory_region(handle)


def in_region(name, shape, datatype, region, byte_size, offset=0):
    message = triton.InferInput(name, list(shape), datatype)
    message.set_shared_memory(region, byte_size, offset)
    return message


def to_region(name, region, byte_size, offset=0):
    message = triton.InferRequestedOutput(name)
    message.set_shared_memory(region, byte_size, offset)
    return message
