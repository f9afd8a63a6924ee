"""Streams of requests whose first message is none, with good ones behind it.

The first is so long that the server reads it on another thread, which ends the
stream while the good ones still come.
"""

import itertools

import grpc

from support.api import pb
from support.client import tensor

METHODS = (
    "octet.v1.InferenceService/StreamMatMul",
    "inference.GRPCInferenceService/ModelStreamInfer",
)
# Longer ones are not read where they arrive (wire_reactors.cc).
LONG = 1 << 20
UNKNOWN = b"\xa0\x06\x01"  # field 100: 1


def no_message(rng):
    """No protobuf, which shows after a while of reading."""
    unknown = UNKNOWN * rng.randrange(80_000)
    return unknown + b"\xff" * max(20, LONG + 9 - len(unknown))


def matmul(model, layer, x):
    """A message of StreamMatMul."""
    return pb.StreamMatMulRequest(
        request=pb.MatMulRequest(
            model=f"models/{model}", layer=layer, x=tensor(x)
        )
    ).SerializeToString()


def break_off(client, method, good, rng):
    """One such stream. Returns its code."""
    stream = client.channel.stream_stream(
        f"/{method}",
        request_serializer=lambda message: message,
        response_deserializer=lambda message: message,
    )
    goods = itertools.repeat(good, rng.randrange(1, 8))
    call = stream(itertools.chain([no_message(rng)], goods), timeout=60)
    try:
        for _ in call:
            raise AssertionError("what is no message was answered")
    except grpc.RpcError as error:
        return error.code()
    raise AssertionError("a stream with no message in it went on")
