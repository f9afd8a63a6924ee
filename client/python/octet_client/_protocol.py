"""Messages and methods of octet.v1, from the descriptors the build made.

`messages.MatMulRequest(...)` makes a message; `enums` holds every enum value by
its name, `enums.SCHEME_LLM_INT8`; `Methods(channel).MatMul` is a callable.
"""

from __future__ import annotations

import importlib.resources
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf import (  # noqa: F401  what octet/v1 imports
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    message_factory,
    timestamp_pb2,
)
from google.rpc import status_pb2  # noqa: F401

_DESCRIPTORS = "_generated/octet_v1.binpb"


def _load() -> list[Any]:
    try:
        data = (
            importlib.resources.files("octet_client")
            .joinpath(_DESCRIPTORS)
            .read_bytes()
        )
    except FileNotFoundError:
        raise ImportError(
            "octet_client has no descriptors: it runs installed "
            "('pip install CHECKOUT/client/python'), not from its sources"
        ) from None
    files = descriptor_pb2.FileDescriptorSet.FromString(data).file
    pool = descriptor_pool.Default()
    pending = {file.name: file for file in files}
    loaded = []

    def add(name: str) -> None:
        file = pending.pop(name, None)
        if file is None:
            return
        for dependency in file.dependency:
            add(dependency)
        try:
            loaded.append(pool.FindFileByName(name))  # generated code was first
        except KeyError:
            pool.AddSerializedFile(file.SerializeToString())
            loaded.append(pool.FindFileByName(name))

    for file in files:
        add(file.name)
    return loaded


def _message_class(descriptor: Any) -> Any:
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory().GetPrototype(descriptor)


def _enum_values(owner: Any) -> dict[str, int]:
    return {
        value.name: value.number
        for enum in owner.enum_types_by_name.values()
        for value in enum.values
    }


_FILES = _load()
messages = SimpleNamespace()
enums = SimpleNamespace()
_services = []
for _file in _FILES:
    vars(enums).update(_enum_values(_file))
    for _name, _descriptor in _file.message_types_by_name.items():
        setattr(messages, _name, _message_class(_descriptor))
        vars(enums).update(
            {
                f"{_name}.{key}": number
                for key, number in _enum_values(_descriptor).items()
            }
        )
    _services += _file.services_by_name.values()


class Methods:
    """Every method of every service, as gRPC callables of one channel."""

    def __init__(self, channel: grpc.Channel):
        proto = descriptor_pb2.ServiceDescriptorProto
        for service in _services:
            described = proto()
            service.CopyToProto(described)
            streams = {
                m.name: (m.client_streaming, m.server_streaming)
                for m in described.method
            }
            for method in service.methods:
                ways = [
                    "stream" if s else "unary" for s in streams[method.name]
                ]
                make = getattr(channel, "_".join(ways))
                request = _message_class(method.input_type)
                callable_ = make(
                    f"/{service.full_name}/{method.name}",
                    request_serializer=request.SerializeToString,
                    response_deserializer=_message_class(
                        method.output_type
                    ).FromString,
                )
                setattr(self, method.name, callable_)

    def __getattr__(self, name: str) -> Any:  # for type checkers
        raise AttributeError(f"octet.v1 has no method {name}")
