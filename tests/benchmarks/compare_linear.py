"""INT8 linear layers, Octet beside its rivals: one table, measured now.

Every engine is a process of its own, all pinned to the same core, and they take
turns; what is printed are medians, and ratios taken turn by turn, since these
vary least on a machine that others use too. FP32 goes in and comes out and
quantization is included, except for oneDNN, which only multiplies. What it
costs to reach an engine (Python, or SYCL's queue) is measured and taken off;
where that is more than half of a call, the field stays empty.

In the table, GOP/s; behind each rival, how many times as fast Octet is.
"""

import argparse
import json
import os
import pathlib
import re
import sys

from harness.engines import EngineError, machine, python, start
from harness.verdict import print_verdict
from linear.cell import OCTET, measure
from linear.targets import print_verdicts

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYERS = {  # K x N
    "MiniLM": [(384, 384), (384, 1536), (1536, 384)],
    "SmolLM2-135M": [(576, 576), (576, 192), (576, 1536), (1536, 576)],
    "Llama-7B": [(4096, 4096), (4096, 11008), (11008, 4096)],
    "odd": [(1000, 333)],
}
ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
QUICK_LAYERS = {
    "MiniLM": [(384, 384), (1536, 384)],
    "SmolLM2-135M": [(576, 1536)],
    "Llama-7B": [(4096, 4096)],
    "odd": [(1000, 333)],
}
QUICK_ROWS = [1, 4, 16, 64, 256]
SHARES_AT = (256, 1536, 384)
WIDTH = 16


def main() -> None:
    args = parse_arguments()
    cores = sorted(os.sched_getaffinity(0))
    print(machine())
    commands = {
        name: command
        for name, command in list_commands(args.build, 1).items()
        if re.search(args.engines, name) or name in ("octet", "limits")
    }
    core = cores[-1] if args.core is None else args.core
    engines = start(commands, {core})
    contestants = list_contestants(engines)
    cells = []
    for title, layers in (QUICK_LAYERS if args.quick else LAYERS).items():
        for k, n in layers:
            shapes = [(m, k, n) for m in args.rows]
            shapes = [
                s
                for s in shapes
                if re.search(args.shapes, "x".join(map(str, s)))
            ]
            if shapes:
                print_head(f"{title}, K = {k}, N = {n}", engines, contestants)
            for shape in shapes:
                cells.append(measure(engines, contestants, shape, args.rounds))
                print_row(cells[-1], contestants)
    print_verdicts(cells)
    shares = measure_shares(engines["octet"])
    scaling = measure_scaling(args, cells, cores, engines["octet"])
    for engine in engines.values():
        engine.close()
    if args.json:
        save(args.json, cells, engines, shares, scaling)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="some shapes only")
    add("--json", type=pathlib.Path, help="all times, as a file")
    add("--build", type=pathlib.Path, help="default: build/release")
    add("--rounds", type=int, default=9)
    add("--core", type=int, help="default: the last")
    add("--rows", type=int, nargs="*", help="M")
    add("--shapes", default="", help="MxKxN, a regex")
    add("--engines", default="", help="names, a regex")
    args = parser.parse_args()
    if args.build is None:
        args.build = ROOT / os.environ.get("OCTET_BUILD_DIR", "build/release")
    args.build = args.build.resolve()
    args.rows = args.rows or (QUICK_ROWS if args.quick else ROWS)
    return args


def list_commands(build: pathlib.Path, threads: int) -> dict:
    """Every engine there is, by name; Octet first."""
    folder = build / "tests/benchmarks/linear"
    newer = sorted(folder.glob("octet_onednn_worker_newer*"))
    return {
        "octet": [folder / "octet_linear_worker", threads],
        "limits": [folder / "octet_limits_worker"],
        "onednn_debian": [folder / "octet_onednn_worker_debian", threads],
        **{f"onednn_{p.name.split('_')[-1]}": [p, threads] for p in newer},
        "onnxruntime": python("linear.onnxruntime_worker", threads),
        "openvino": python("linear.openvino_worker", threads),
    }


def list_contestants(engines) -> list:
    """Those that start, with every variant they have."""
    found = []
    for name, engine in engines.items():
        variants = ["int8", "fp32", "overhead"]
        if name == "limits":
            variants = ["int8_peak", "fma_peak", "read"]
        for variant in variants:
            try:
                engine.ask("prepare", variant, 1, 64, 64, 1)
                found.append((name, variant))
            except EngineError as error:
                if variant != "overhead":
                    print(f"LEFT OUT: {variant}, {error}", file=sys.stderr)
        engine.ask("drop")
    return found


def rivals(contestants) -> list:
    """INT8 first, then FP32; Octet's own FP32 is a rival of its INT8."""
    return [
        (name, variant)
        for variant in ("int8", "fp32")
        for name, own in contestants
        if own == variant and (name, variant) != OCTET
    ]


def print_head(title, engines, contestants) -> None:
    def label(name):
        about = engines[name].about.replace("ONNX Runtime", "ORT")
        return re.match(r"\w+( \d+\.\d+)?", about)[0]

    columns = rivals(contestants)
    names = "".join(f"{label(name):>{WIDTH}}" for name, _ in columns)
    variants = "".join(f"{variant:>{WIDTH}}" for _, variant in columns)
    print(f"\n{title:37}{names}")
    print(f"{'M':>5}{'Octet':>7}{'us':>10}{'peak':>8}{'read':>7}{variants}")


def print_row(cell, contestants) -> None:
    def percent(share):
        return "-" if share is None else f"{100 * share:.0f} %"

    turns = cell.turns
    row = f"{cell.m:5}{turns.rate(OCTET):7.0f}{1e-3 * turns.time(OCTET):10.1f}"
    row += f"{percent(cell.peak_share):>8}{percent(cell.read_share):>7}"
    for contestant in rivals(contestants):
        rate = turns.rate(contestant)
        field = (
            f"{rate:.0f} {turns.ratio(contestant, OCTET):5.2f}x"
            if rate
            else "-"
        )
        row += f"{field:>{WIDTH}}"
    print(row, flush=True)


def measure_shares(octet) -> dict:
    octet.ask("prepare", "int8", *SHARES_AT, 1)
    shares = octet.ask("report", "int8")
    octet.ask("drop")
    print_verdict(
        "quantize + dequantize, share of the time",
        0.08,
        [(shares["quantize"] + shares["dequantize"], "256x1536x384")],
        at_most=True,
    )
    return shares


def measure_scaling(args, cells, cores, one) -> list:
    """Two threads against one, where there is enough to share out."""
    name = "x one thread, two threads, M >= 64"
    values = []
    if len(cores) < 2:
        print(f"  -    {name:44} NOT MEASURED: one core only")
        return values
    commands = {"octet": list_commands(args.build, 2)["octet"]}
    two = start(commands, set(cores[-2:]))["octet"]
    contestants = [("one", "int8"), ("two", "int8")]
    for cell in cells:
        if cell.m < 64:
            continue
        pair = measure(
            {"one": one, "two": two},
            contestants,
            (cell.m, cell.k, cell.n),
            args.rounds,
            clock="ns",
        )
        values.append((pair.turns.ratio(*contestants), cell.name))
    two.close()
    print_verdict(name, 1.9, values)
    return values


def save(path, cells, engines, shares, scaling) -> None:
    def text(of_contestants):
        return {"/".join(c): value for c, value in of_contestants.items()}

    result = {
        "machine": machine(),
        "engines": {name: engine.about for name, engine in engines.items()},
        "shares": shares,
        "scaling": {where: value for value, where in scaling},
        "cells": [
            {
                "m": cell.m,
                "k": cell.k,
                "n": cell.n,
                "ns": text(cell.turns.ns),
                "work": text(cell.turns.work),
                "peak_share": cell.peak_share,
                "read_share": cell.read_share,
            }
            for cell in cells
        ],
    }
    path.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
