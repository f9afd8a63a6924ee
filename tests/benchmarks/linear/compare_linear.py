"""INT8 linear layers, Octet beside its rivals: one table, measured now.

Every engine is a process of its own, all pinned to the same core, and they take
turns; what is printed are medians, and ratios taken turn by turn, since these
vary least on a machine that others use too. FP32 goes in and comes out and
quantization is included, except for oneDNN, which only multiplies. What it
costs to reach an engine (Python, or SYCL's queue) is measured and taken off;
where that is more than half of a call, the cell stays empty.

In the table, GOP/s; behind each rival, how many times as fast Octet is.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import sys
import time

from engines import Engine, EngineError, commands, environment
from measure import measure
from targets import (
    OCTET,
    peak_share,
    print_verdict,
    print_verdicts,
    read_share,
)

ROOT = pathlib.Path(__file__).resolve().parents[3]
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


def main() -> None:
    args = parse_arguments()
    cores = sorted(os.sched_getaffinity(0))
    print(machine(cores))
    engines = start(args, 1, {args.core if args.core >= 0 else cores[-1]})
    contestants = list_contestants(engines, args)
    cells = []
    for title, layers in (QUICK_LAYERS if args.quick else LAYERS).items():
        for k, n in layers:
            wanted = [
                (m, k, n)
                for m in (args.rows or (QUICK_ROWS if args.quick else ROWS))
                if re.search(args.shapes, f"{m}x{k}x{n}")
            ]
            if wanted:
                print_head(f"{title} K={k} N={n}", engines, contestants)
            for shape in wanted:
                cell = measure(engines, contestants, shape, args.rounds)
                print_row(cell, contestants)
                cells.append(cell)
    print_verdicts(cells)
    shares = measure_shares(engines["octet"])
    print_verdict(
        "quantize + dequantize, share at 256x1536x384",
        0.08,
        [(shares["quantize"] + shares["dequantize"], "256x1536x384")],
        worst_is=max,
    )
    scaling = measure_scaling(args, cells, cores, engines["octet"])
    for engine in engines.values():
        engine.close()
    if args.json:
        save(args.json, cells, engines, shares, scaling)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="some shapes only")
    parser.add_argument(
        "--json", type=pathlib.Path, help="all times, as a file"
    )
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--core", type=int, default=-1, help="default: the last"
    )
    parser.add_argument("--rows", type=int, nargs="*", help="M")
    parser.add_argument("--shapes", default="", help="MxKxN, a regex")
    parser.add_argument("--engines", default="", help="names, a regex")
    args = parser.parse_args()
    if args.build is None:
        args.build = ROOT / os.environ.get("OCTET_BUILD_DIR", "build/release")
    return args


def machine(cores) -> str:
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.M)
    name = model[1] if model else os.uname().machine
    return f"machine: {name}, {len(cores)} cores; {time.strftime('%Y-%m-%d')}"


def start(args, threads, cores, only="") -> dict:
    engines = {}
    for name, command in commands(args.build, threads).items():
        always = name in ("octet", "limits")
        if not re.search(only or args.engines, name) and (only or not always):
            continue
        try:
            engines[name] = Engine(command, cores, environment())
            print(f"{name:16}{engines[name].about}")
        except (EngineError, OSError) as error:
            print(f"{name:16}LEFT OUT: {error}", file=sys.stderr)
    return engines


def list_contestants(engines, args):
    """Those that start, with every variant they have."""
    found = []
    for name, engine in engines.items():
        if name == "limits":
            variants = ["int8_peak", "fma_peak", "read"]
        else:
            variants = ["int8", "fp32", "overhead"]
        for variant in variants:
            try:
                engine.ask("prepare", variant, 1, 64, 64, 1)
                found.append((name, variant))
            except EngineError as error:
                if variant != "overhead":
                    print(f"LEFT OUT: {variant}, {error}", file=sys.stderr)
        engine.ask("drop")
    return found


def rival_columns(contestants):
    """INT8 first, then FP32; Octet's own FP32 is a rival of its INT8."""
    return [
        (name, variant)
        for variant in ("int8", "fp32")
        for name, own in contestants
        if own == variant and (name, variant) != OCTET
    ]


def print_head(title, engines, contestants) -> None:
    def label(name, variant):
        about = engines[name].about.replace("ONNX Runtime", "ORT")
        short = re.match(r"\w+( \d+\.\d+)?", about)[0]
        return f"{short} {variant}"

    columns = "".join(f"{label(*c):>21}" for c in rival_columns(contestants))
    print(
        f"\n{title}\n{'M':>5} {'Octet':>6} {'us':>9} {'%peak':>6} "
        f"{'%read':>6}{columns}"
    )


def print_row(cell, contestants) -> None:
    def percent(share):
        return f"{100 * share:6.0f}" if share is not None else f"{'-':>6}"

    row = f"{cell.m:5} {cell.rate(OCTET):6.0f} {1e-3 * cell.time(OCTET):9.1f} "
    row += f"{percent(peak_share(cell))} {percent(read_share(cell))}"
    for contestant in rival_columns(contestants):
        rate = cell.rate(contestant)
        row += (
            f"{rate:13.0f} {cell.ratio(contestant, OCTET):6.2f}x"
            if rate
            else f"{'-':>21}"
        )
    print(row, flush=True)


def measure_shares(octet) -> dict:
    octet.ask("prepare", "int8", *SHARES_AT, 1)
    shares = octet.ask("report", "int8")
    octet.ask("drop")
    return shares


def measure_scaling(args, cells, cores, one) -> list:
    """Two threads against one, where there is enough to share out."""
    shapes = [(c.m, c.k, c.n) for c in cells if c.m >= 64]
    if len(cores) < 2:
        print("  -    two threads: NOT MEASURED, one core only")
        return []
    if not shapes:
        return []
    two = start(args, 2, set(cores[-2:]), "^octet$")["octet"]
    engines = {"one": one, "two": two}
    contestants = [("one", "int8"), ("two", "int8")]
    values = []
    for shape in shapes:
        cell = measure(engines, contestants, shape, args.rounds, "ns")
        values.append((cell.ratio(*contestants), cell.name()))
    two.close()
    print_verdict("two threads, M >= 64: times one thread", 1.9, values)
    return values


def save(path, cells, engines, shares, scaling) -> None:
    def text(contestant):
        return "/".join(contestant)

    path.write_text(
        json.dumps(
            {
                "machine": machine(os.sched_getaffinity(0)),
                "engines": {n: e.about for n, e in engines.items()},
                "shares": shares,
                "scaling": {where: value for value, where in scaling},
                "cells": [
                    dataclasses.asdict(cell)
                    | {
                        "ns": {text(c): ns for c, ns in cell.ns.items()},
                        "work": {text(c): w for c, w in cell.work.items()},
                        "peak_share": peak_share(cell),
                        "read_share": read_share(cell),
                    }
                    for cell in cells
                ],
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
