"""What the wire costs: calls beside an empty call and raw bytes on the same
server, in turns. `tests/run.sh bench-wire`.

Targets: a MatMul of one row takes at most 1.5 times an empty call; tensors of
16 MiB pass at 0.85 of the rate of raw bytes or more. Like is compared with
like: `even` answers 16 MiB with 16 MiB, as an echo does; `narrow` answers
little, as a sink does. Both multiply as little as a layer can, so that it is
the wire that is measured. `square`, a layer of MiniLM, multiplies for 3.2 GOP
in between: for comparison, without a target.
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

# Columns out and in, and the call whose messages have the same sizes.
WIDTHS = {"even": (64, 64), "narrow": (16, 4096), "square": (384, 384)}
LIKE = {"even": "echo", "narrow": "sink", "square": "echo"}
WITH_TARGET = ("even", "narrow")
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
            small = call(server, "small", "square", SMALL_TURNS)
            large = {
                (layer, in_flight): call(
                    server, "large", layer, LARGE_TURNS, in_flight
                )
                for layer in WIDTHS
                for in_flight in (1, 2)
            }
        finally:
            server.stop()
    show(small, large)
    if args.json:
        named = {f"{layer}/{n}": turns for (layer, n), turns in large.items()}
        args.json.write_text(json.dumps({"small": small} | named, indent=1))


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


def show(small: list, large: dict) -> None:
    empty, one_row = median(small, "empty_us"), median(small, "matmul_us")
    print(f"\np50: empty call {empty:.0f} us, one row {one_row:.0f} us")
    print(
        f"\n{'16 MiB, MiB/s':28}{'like':>8}{'raw':>8}{'MatMul':>8}{'/raw':>8}"
    )
    cells = []
    for (layer, in_flight), turns in large.items():
        where = f"{layer}, {in_flight} in flight"
        raw = f"{LIKE[layer]}_mib_s"
        against = ratio(turns, "matmul_mib_s", raw)
        if layer in WITH_TARGET:
            cells.append((against, where))
        print(
            f"{where:28}{LIKE[layer]:>8}{median(turns, raw):8.0f}"
            f"{median(turns, 'matmul_mib_s'):8.0f}{against:8.2f}"
        )
    print()
    cost = ratio(small, "matmul_us", "empty_us")
    print_verdict(
        "MatMul 1 x 384 -> 384 / empty call",
        1.5,
        [(cost, "one client")],
        at_most=True,
    )
    print_verdict("16 MiB tensors / raw bytes", 0.85, cells)


def median(turns: list, key: str) -> float:
    return statistics.median(turn[key] for turn in turns)


def ratio(turns: list, key: str, to: str) -> float:
    """Turn by turn, since these vary least on a machine others use too."""
    return statistics.median(turn[key] / turn[to] for turn in turns)


def binary(name: str) -> pathlib.Path:
    return paths.build_dir() / "tests/benchmarks/wire" / name


if __name__ == "__main__":
    main()
