"""What came of the quickstart's job: sizes, errors, latencies and metrics,
printed as tables and returned as numbers."""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
import urllib.request
from collections import defaultdict

import numpy as np

import octet_client

SCHEMES = ("w8a8_dynamic", "llm_int8")
MATMUL_ROWS = 256


def model_id(args: argparse.Namespace, name: str) -> str:
    return f"{args.id}-{name.replace('_', '-')}"


def show_sizes(reports: dict) -> dict:
    say("Size before and after")
    print(f"{'':16}{'linear weights':>30}{'all tensors':>30}")
    sizes = {}
    for scheme, report in reports.items():
        pairs = (
            (report.linear_float_bytes, report.linear_stored_bytes),
            (report.checkpoint_bytes, report.bundle_bytes),
        )
        cells = "".join(
            f"{f'{mib(a)} -> {mib(b)} ({b / a:.3f})':>32}" for a, b in pairs
        )
        print(f"{scheme:16}{cells}")
        sizes[scheme] = {
            "linear_float_bytes": report.linear_float_bytes,
            "linear_stored_bytes": report.linear_stored_bytes,
            "checkpoint_bytes": report.checkpoint_bytes,
            "bundle_bytes": report.bundle_bytes,
        }
    return sizes


def show_layers(reports: dict) -> dict:
    say("Error per layer, on calibration samples (SQNR in dB)")
    print(" " * 36 + "".join(f"{scheme:>21}" for scheme in reports))
    print(
        f"{'layer':36}" + f"{'SQNR':>6}{'cosine':>8}{'max':>7}" * len(reports)
    )
    numbers: dict = {scheme: [] for scheme in reports}
    for rows in zip(*(report.layers for report in reports.values())):
        line = f"{shorten(rows[0].layer, 36):36}"
        for scheme, row in zip(reports, rows):
            error = row.output_error
            line += f"{error.sqnr_db:6.1f}{error.cosine:8.5f}"
            line += f"{error.max_error:7.3f}"
            numbers[scheme].append(
                {
                    "layer": row.layer,
                    "sqnr_db": error.sqnr_db,
                    "cosine": error.cosine,
                    "max_error": error.max_error,
                    "outlier_columns": row.outlier_columns,
                }
            )
        print(line)
    return numbers


def show_accuracy(embedders: dict, texts: list[str], sources: dict) -> dict:
    say("INT8 against FP32 embeddings, texts never seen")
    exact = embedders["fp32"].encode(texts)
    print(
        f"{len(texts)} texts from {len(sources['unseen_files'])} other files\n"
        f"{'':16}{'mean cosine':>14}{'worst cosine':>14}"
    )
    accuracy = {}
    for scheme in SCHEMES:
        cosines = row_cosines(embedders[scheme].encode(texts), exact)
        accuracy[scheme] = {
            "mean_cosine": float(cosines.mean()),
            "worst_cosine": float(cosines.min()),
        }
        print(f"{scheme:16}{cosines.mean():14.5f}{cosines.min():14.5f}")
    return accuracy


def show_latency(
    client: octet_client.Client,
    args: argparse.Namespace,
    embedders: dict,
    texts: list[str],
) -> dict:
    say(f"Latency of Forward, medians of {args.repeats} interleaved calls")
    ids = embedders["fp32"].tokenize(texts)
    stream = [token for sequence in ids for token in sequence]
    typical = sorted(ids, key=len)[len(ids) // 2]
    inputs = {
        f"1 text, {len(typical)} tokens": [typical],
        "8 x 128 tokens": [stream[i * 128 : (i + 1) * 128] for i in range(8)],
    }
    print(f"{'':22}" + "".join(f"{name:>19}" for name in embedders))
    latency: dict = {}
    for title, batch in inputs.items():
        seconds = measure(client, args, list(embedders), batch)
        cells = ""
        for median in seconds.values():
            gain = seconds["fp32"] / median
            cells += f"{f'{1e3 * median:.2f} ms ({gain:.2f}x)':>19}"
        print(f"{title:22}{cells}")
        latency[title] = {f"{name}_seconds": s for name, s in seconds.items()}
    return latency


def measure(
    client: octet_client.Client,
    args: argparse.Namespace,
    names: list[str],
    batch: list[list[int]],
) -> dict[str, float]:
    """Median seconds of Forward as the caller sees them; all models take turns,
    so that a busy moment of the machine hits each of them."""
    times: dict = defaultdict(list)
    for repeat in range(args.repeats + 2):
        for name in names:
            started = time.perf_counter()
            client.forward(model_id(args, name), batch)
            if repeat >= 2:  # the first calls warm up
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(times[name]) for name in names}


def show_matmul(client: octet_client.Client, args: argparse.Namespace) -> dict:
    layers = client.get_model(f"{args.id}-fp32").layers
    layer = max(layers, key=lambda row: row.out_features * row.in_features)
    say(f"MatMul of {layer.name}")
    rng = np.random.default_rng(1)
    x = rng.standard_normal((MATMUL_ROWS, layer.in_features), np.float32)
    exact = client.matmul(f"{args.id}-fp32", layer.name, x)
    y, timings = client.timed_matmul(
        model_id(args, "w8a8_dynamic"), layer.name, x
    )
    cosine = float(row_cosines(y, exact).mean())
    print(
        f"[{MATMUL_ROWS}, {layer.in_features}] x "
        f"[{layer.out_features}, {layer.in_features}]^T, w8a8_dynamic, "
        f"cosine to FP32 {cosine:.6f}"
    )
    phases = ("queue", "quantize", "dot", "dequantize", "total")
    print(" ".join(f"{phase:>12}" for phase in phases))
    print(" ".join(f"{1e3 * getattr(timings, p):9.3f} ms" for p in phases))
    return {
        "layer": layer.name,
        "cosine": cosine,
        **{f"{p}_seconds": getattr(timings, p) for p in phases},
    }


def show_metrics(args: argparse.Namespace) -> dict:
    say(f"Metrics: {args.metrics}")
    with urllib.request.urlopen(args.metrics, timeout=10) as response:
        text = response.read().decode()
    seconds: dict = defaultdict(dict)
    for labels, value in samples(text, "octet_linear_seconds_total"):
        phases = seconds[labels["model"]]
        phases[labels["phase"]] = phases.get(labels["phase"], 0.0) + value
    ratios = samples(text, "octet_compression_ratio")
    smaller = {labels["model"]: value for labels, value in ratios}
    kernels = samples(text, "octet_kernel_info")
    kernel = {labels["model"]: labels["kernel"] for labels, _ in kernels}
    order = ("quantize", "dot", "dequantize", "outlier")
    print(f"{'CPU time of linears':22}" + "".join(f"{p:>12}" for p in order))
    shares: dict = {}
    for scheme in SCHEMES:
        model = model_id(args, scheme)
        whole = sum(seconds[model].values()) or 1.0
        shares[scheme] = {p: seconds[model].get(p, 0.0) / whole for p in order}
        cells = "".join(f"{100 * s:11.1f}%" for s in shares[scheme].values())
        print(f"{model:22}{cells}")
        print(
            f"  weights {smaller.get(model, 1):.2f} times smaller than FP32, "
            f"kernel {kernel.get(model, 'float')}"
        )
    return {"url": args.metrics, "phase_shares": shares}


def samples(text: str, name: str) -> list[tuple[dict, float]]:
    """Labels and value of every series of one metric."""
    lines = re.findall(rf"^{name}\{{(.*)\}} (\S+)$", text, re.M)
    return [
        (dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value))
        for labels, value in lines
    ]


# Small things


def row_cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(axis=1) / norms


def say(title: str) -> None:
    print(f"\n== {title}", flush=True)


def mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def shorten(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    tail = (width - 3) // 2
    return text[: width - 3 - tail] + "..." + text[-tail:]


class Bar:
    """How far something is, on a terminal only."""

    def __init__(self, unit: str):
        self._unit = unit
        self._visible = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        if self._visible and total > 0:
            filled = 40 * done // total
            bar = "#" * filled + "." * (40 - filled)
            line = f"\r[{bar}] {done:,} of {total:,} {self._unit}"
            print(line, end="\033[K", file=sys.stderr, flush=True)

    def done(self) -> None:
        if self._visible:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
