"""octet.v1 as Python: generated from proto/ on import, into a directory that
goes when the process does. A child takes its parent's, `stubs`, when
OCTET_STUBS names it, and leaves nothing when it is killed. `pb` holds every
message and enum value of the package, `stub(channel, "ModelService")` a client
of one service."""

import atexit
import importlib
import os
import pathlib
import shutil
import sys
import tempfile
import types

import grpc_tools
from grpc_tools import protoc

from support.paths import ROOT


def _generate() -> str:
    out = tempfile.mkdtemp(prefix="octet-e2e-stubs-")
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    sources = [
        str(path.relative_to(ROOT / "proto"))
        for folder in ("octet", "google")
        for path in sorted((ROOT / "proto" / folder).rglob("*.proto"))
    ]
    code = protoc.main(
        [
            "protoc",
            f"-I{ROOT / 'proto'}",
            f"-I{well_known}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            *sources,
        ]
    )
    if code != 0:
        raise RuntimeError(f"protoc failed with {code}")
    return out


def _collect(directory: str):
    messages = types.SimpleNamespace()
    services = {}
    for path in sorted((pathlib.Path(directory) / "octet/v1").glob("*_pb2.py")):
        module = importlib.import_module(f"octet.v1.{path.stem}")
        for name in module.DESCRIPTOR.message_types_by_name:
            setattr(messages, name, getattr(module, name))
        for enum in module.DESCRIPTOR.enum_types_by_name.values():
            for value in enum.values:
                setattr(messages, value.name, value.number)
        for name in module.DESCRIPTOR.services_by_name:
            services[name] = f"octet.v1.{path.stem}_grpc"
    return messages, services


stubs = os.environ.get("OCTET_STUBS") or _generate()
sys.path.insert(0, stubs)
pb, _services = _collect(stubs)

error_details = importlib.import_module("google.rpc.error_details_pb2")
rpc_status = importlib.import_module("google.rpc.status_pb2")


def stub(channel, service: str):
    module = importlib.import_module(_services[service])
    return getattr(module, f"{service}Stub")(channel)
