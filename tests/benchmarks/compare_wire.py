"""What the wire costs: calls beside an empty call and raw bytes on the same
server, in turns. `tests/run.sh bench-wire`.

Targets: a MatMul of one row takes at most 1.5 times an empty call; tensors of
16 MiB pass at 0.85 of a raw echo's rate or more. The layer `narrow` computes
and answers little, so that it is the wire that is measured; the echo sends its
16 MiB back, so the rate of a sink that answers nothing stands beside it.
`square`, a layer of MiniLM, answers as much as it gets and multiplies for
3.2 GOP in between: for comparison, without a target.
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

WIDTHS = {"narrow": (16, 4096), "square": (384, 384)}  # out, in
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
        f"\n{'16 MiB, MiB/s':28}{'echo':>8}{'sink':>8}{'MatMul':>8}"
        f"{'/echo':>8}{'/sink':>8}"
    )
    to_echo = []
    for (layer, in_flight), turns in large.items():
        where = f"{layer}, {in_flight} in flight"
        rates = [
            median(turns, f"{w}_mib_s") for w in ("echo", "sink", "matmul")
        ]
        against = ratio(turns, "matmul_mib_s", "echo_mib_s")
        if layer == "narrow":
            to_echo.append((against, where))
        print(
            f"{where:28}{rates[0]:8.0f}{rates[1]:8.0f}{rates[2]:8.0f}"
            f"{against:8.2f}{ratio(turns, 'matmul_mib_s', 'sink_mib_s'):8.2f}"
        )
    print()
    cost = ratio(small, "matmul_us", "empty_us")
    print_verdict(
        "MatMul 1 x 384 -> 384 / empty call",
        1.5,
        [(cost, "one client")],
        at_most=True,
    )
    print_verdict("16 MiB tensors / raw echo", 0.85, to_echo)


def median(turns: list, key: str) -> float:
    return statistics.median(turn[key] for turn in turns)


def ratio(turns: list, key: str, to: str) -> float:
    """Turn by turn, since these vary least on a machine others use too."""
    return statistics.median(turn[key] / turn[to] for turn in turns)


def binary(name: str) -> pathlib.Path:
    return paths.build_dir() / "tests/benchmarks/wire" / name


if __name__ == "__main__":
    main()
