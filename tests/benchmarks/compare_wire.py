"""What the wire costs: calls against an empty call and a raw echo of the same
server, in turns. `tests/run.sh bench-wire`.

Targets: a MatMul of one row takes at most 1.5 times an empty call; tensors of
16 MiB pass at 0.85 of the echo's rate or more, in and out. The layer `copy`
computes next to nothing, so that the wire is what is measured; `square` is a
layer of MiniLM.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np

from harness.engines import machine
from harness.verdict import print_verdict

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from support import checkpoints, paths  # noqa: E402
from support.api import pb  # noqa: E402
from support.client import Client  # noqa: E402
from support.server import Server  # noqa: E402

WIDTHS = {"square": (384, 384), "copy": (16, 16), "narrow": (16, 4096)}
SMALL_TURNS, LARGE_TURNS = 15, 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="octet-bench-") as directory:
        command = [binary("octet_wire_server")]
        server = Server(pathlib.Path(directory), command=command)
        try:
            serve_model(server)
            results = measure(server)
        finally:
            server.stop()
    show(results)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


def serve_model(server: Server) -> None:
    rng = np.random.default_rng(5)
    tensors = {}
    for name, (out, inp) in WIDTHS.items():
        tensors |= checkpoints.linear(rng, out, inp, name)
    files = {
        "config.json": checkpoints.json_bytes({"model_type": "linear_set"}),
        "model.safetensors": checkpoints.safetensors_bytes(tensors),
    }
    with Client(server.address) as client:
        client.upload_checkpoint("wire", files)
        client.quantize("wire", "wire-int8", scheme=pb.SCHEME_W8A8_DYNAMIC)
        client.load("wire", "bundles/wire-int8")


def measure(server: Server) -> dict:
    results = {"small": call(server, "small", "square", SMALL_TURNS)}
    for layer in WIDTHS:
        for in_flight in (1, 2):
            name = f"16 MiB to {layer}, {in_flight} in flight"
            results[name] = call(server, "large", layer, LARGE_TURNS, in_flight)
    return results


def call(server: Server, what: str, layer: str, turns: int, *more) -> list:
    command = [
        binary("octet_wire_client"),
        server.address,
        what,
        "models/wire",
        layer,
        WIDTHS[layer][1],
        turns,
        *more,
    ]
    output = subprocess.run(
        [str(word) for word in command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return [json.loads(line) for line in output.splitlines()]


def show(results: dict) -> None:
    print(f"\n{'p50 of calls':36}{'probe':>10}{'MatMul':>10}{'ratio':>8}")
    ratios = {}
    for name, turns in results.items():
        probe, matmul = ([turn[key] for turn in turns] for key in turns[0])
        ratio = statistics.median(m / p for m, p in zip(matmul, probe))
        ratios[name] = ratio
        unit = "us" if name == "small" else "MiB/s"
        print(
            f"{name:36}{statistics.median(probe):10.0f}"
            f"{statistics.median(matmul):10.0f}{ratio:8.2f} {unit}"
        )
    print()
    print_verdict(
        "MatMul 1 x 384 -> 384 / empty call",
        1.5,
        [(ratios.pop("small"), "one client")],
        at_most=True,
    )
    print_verdict(
        "16 MiB tensors / raw echo",
        0.85,
        [(ratio, name) for name, ratio in ratios.items()],
    )


def binary(name: str) -> pathlib.Path:
    return paths.build_dir() / "tests/benchmarks/wire" / name


if __name__ == "__main__":
    main()
