"""NVIDIA's perf_analyzer on the same traffic, as a second opinion on what
octet_load measures. tests/perf_analyzer/make_venv.sh installs it."""

import csv
import json
import pathlib
import subprocess

from support.paths import ROOT

PROGRAM = ROOT / ".venv-perf/perf_analyzer"
_MICROSECONDS = 1e3  # in a millisecond


def write_inputs(sequences, path: pathlib.Path) -> None:
    """In the form of its --input-data: one step after the other, in turns."""
    steps = [
        {"input_ids": {"content": ids, "shape": [len(ids)]}}
        for ids in sequences
    ]
    path.write_text(json.dumps({"data": steps}))


def measure(address, model, inputs, clients, seconds) -> dict:
    """{"per_second", "p50_ms", "p99_ms"} of one window."""
    table = inputs.with_suffix(".csv")
    subprocess.run(
        [
            str(PROGRAM),
            *("-m", model, "-u", address, "-i", "grpc"),
            *("--input-data", str(inputs), "-f", str(table)),
            *("-p", str(int(seconds * 1000)), "-s", "1000", "-r", "3"),
            *("--percentile=50", f"--concurrency-range={clients}"),
        ],
        check=True,
        capture_output=True,
    )
    with table.open() as file:
        (row,) = csv.DictReader(file)
    return {
        "per_second": float(row["Inferences/Second"]),
        "p50_ms": float(row["p50 latency"]) / _MICROSECONDS,
        "p99_ms": float(row["p99 latency"]) / _MICROSECONDS,
    }
