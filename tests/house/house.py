"""The house as docs/architecture.md draws it, and who may look at whom.

A room is a folder; an arrow says that it may include headers of another one.
Arrows are listed to the end: what is not here is forbidden.
"""

import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Longest folder first matters: "client/cli" before "client".
ARROWS = {
    "kernels": set(),
    "proto": set(),
    "server/model": {"kernels"},
    "server/bundle": {"kernels", "server/model"},
    # What calibration saw.
    "server/quantization/calibration": {
        "kernels",
        "server/model",
        "server/bundle",
    },
    # What can be done to one layer.
    "server/quantization/methods": {
        "kernels",
        "server/model",
        "server/bundle",
        "server/quantization/calibration",
    },
    # Which layer gets what, as it was asked for.
    "server/quantization/planning": {
        "kernels",
        "server/model",
        "server/quantization/calibration",
        "server/quantization/methods",
    },
    # What a bundle holds and a report says.
    "server/quantization/storage": {
        "kernels",
        "server/model",
        "server/bundle",
        "server/quantization/calibration",
        "server/quantization/methods",
        "server/quantization/planning",
    },
    # Which layer gets what, as measuring finds it.
    "server/quantization/search": {
        "kernels",
        "server/model",
        "server/bundle",
        "server/quantization/calibration",
        "server/quantization/methods",
        "server/quantization/planning",
        "server/quantization/storage",
    },
    # From a checkpoint to a published bundle.
    "server/quantization/job": {
        "kernels",
        "server/model",
        "server/bundle",
        "server/quantization/calibration",
        "server/quantization/planning",
        "server/quantization/storage",
        "server/quantization/search",
    },
    "server/telemetry": {"kernels"},
    "server/serving": {
        "kernels",
        "server/model",
        "server/bundle",
        "server/telemetry",
    },
    "server/rpc": {
        "kernels",
        "proto",
        "server/model",
        "server/bundle",
        "server/quantization/calibration",
        "server/quantization/methods",
        "server/quantization/planning",
        "server/quantization/job",
        "server/serving",
        "server/telemetry",
        "server/rpc/calls",
        "server/rpc/oip",
        "server/rpc/resources",
        "server/rpc/security",
        "server/rpc/wire",
    },
    # The Open Inference Protocol.
    "server/rpc/oip": {
        "kernels",
        "proto",
        "server/model",
        "server/bundle",
        "server/serving",
        "server/telemetry",
        "server/rpc/calls",
        "server/rpc/resources",
        "server/rpc/wire",
    },
    # What services work on, by the names that callers give it.
    "server/rpc/resources": {
        "kernels",
        "server/model",
        "server/bundle",
        "server/quantization/calibration",
        "server/quantization/job",
        "server/serving",
        "server/telemetry",
        "server/rpc/calls",
    },
    # What a call passes on its way in and out.
    "server/rpc/calls": {
        "kernels",
        "proto",
        "server/model",
        "server/serving",
        "server/telemetry",
        "server/rpc/security",
    },
    # Messages as slices.
    "server/rpc/wire": {"kernels", "proto", "server/model"},
    # Who may talk to the server; knows gRPC, and nothing of models.
    "server/rpc/security": {
        "kernels",
        "server/model",
        "server/bundle",
        "server/telemetry",
    },
    # main.cc: flags, wiring, signals.
    "server": {
        "kernels",
        "server/model",
        "server/bundle",
        "server/serving",
        "server/telemetry",
        "server/rpc",
        "server/rpc/security",
    },
    # A client knows the server by its API alone.
    "client/lib": {"proto"},
    "client/cli": {"proto", "client/lib"},
}

# What only some rooms may know.
RPC_LIBRARIES = re.compile(r"^(grpc|grpcpp|google|inference|octet)/")
KNOWS_RPC = {
    "server/rpc",
    "server/rpc/calls",
    "server/rpc/oip",
    "server/rpc/resources",
    "server/rpc/security",
    "server/rpc/wire",
    "server",
    "client/lib",
    "client/cli",
}

# CMake target of each room that is a library.
TARGETS = {
    "octet_kernels": "kernels",
    "octet_model": "server/model",
    "octet_bundle": "server/bundle",
    "octet_calibration": "server/quantization/calibration",
    "octet_methods": "server/quantization/methods",
    "octet_planning": "server/quantization/planning",
    "octet_storage": "server/quantization/storage",
    "octet_search": "server/quantization/search",
    "octet_quantization": "server/quantization/job",
    "octet_serving": "server/serving",
    "octet_telemetry": "server/telemetry",
    "octet_rpc": "server/rpc",
    "octet_calls": "server/rpc/calls",
    "octet_oip": "server/rpc/oip",
    "octet_resources": "server/rpc/resources",
    "octet_wire": "server/rpc/wire",
    "octet_security": "server/rpc/security",
    "octet_proto": "proto",
    "octet_client": "client/lib",
}

_INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)


def tracked_files(*patterns: str) -> list[str]:
    """Files of the project: what git knows or would."""
    listed = subprocess.run(
        [
            "git",
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            *patterns,
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    files = sorted(set(listed.stdout.splitlines()))
    return [name for name in files if (ROOT / name).is_file()]


def room_of(path: str) -> str | None:
    """The room that a file or an included header belongs to."""
    if path.startswith(("inference/", "octet/v1/")):
        return "proto"
    rooms = [room for room in ARROWS if path.startswith(room + "/")]
    return max(rooms, key=len, default=None)


def wrong_includes(path: str, source: str) -> list[str]:
    """What `path` includes against the arrows, as sentences."""
    room = room_of(path)
    if room is None:
        return []
    wrong = []
    for header in _INCLUDE.findall(source):
        other = room_of(header)
        if other is not None and other != room and other not in ARROWS[room]:
            wrong.append(f"{path}: {room} must not include {header}")
        if RPC_LIBRARIES.match(header) and room not in KNOWS_RPC:
            wrong.append(f"{path}: {room} must not know {header}")
    return wrong
