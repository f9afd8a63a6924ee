"""octet_load from Python, and what is looked at beside it."""

import contextlib
import json
import os
import pathlib
import subprocess
import threading
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support import paths


def load(target, model, sequences, **flags) -> dict:
    """One run of octet_load; flags as it has them, `_` for `-`."""
    binary = paths.build_dir() / "tests/benchmarks/load/octet_load"
    words = [str(binary), "--target", target, "--model", model]
    words += ["--sequences", str(sequences)]
    for name, value in flags.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    run = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def milliseconds(summary, quantile, code="OK") -> float:
    return summary["codes"].get(code, {}).get(f"{quantile}_ms", float("nan"))


def resident_bytes(pid) -> int:
    pages = pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def every(seconds, action):
    """Calls `action` again and again while the block runs; yields the list of
    what it returned."""
    results, stop = [], threading.Event()

    def repeat():
        while not stop.is_set():
            results.append(action())
            stop.wait(seconds)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield results
    finally:
        stop.set()
        thread.join()


def health_probe(address):
    """() -> (milliseconds, whether SERVING)."""
    stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(address))

    def probe():
        start = time.monotonic()
        status = stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status
        serving = status == health_pb2.HealthCheckResponse.SERVING
        return (time.monotonic() - start) * 1e3, serving

    return probe
