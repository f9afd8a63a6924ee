"""The numbers in README, measured here and now: `tests/run.sh bench`.

Contestants take turns within one run, pinned to one core; what is printed are
medians, and ratios taken turn by turn, since these vary least on a machine
that others use too. Nothing here is a test.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from support import paths  # noqa: E402
from support.reference import BertReference  # noqa: E402
from support.server import Server  # noqa: E402

SEQUENCES, TOKENS = 8, 128
START_ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--core", type=int, default=max(os.sched_getaffinity(0))
    )
    args = parser.parse_args()
    show_machine()
    show_kernels(args.core)
    show_forward(args.core, args.rounds)
    with tempfile.TemporaryDirectory(prefix="octet-bench-") as directory:
        show_main_job(pathlib.Path(directory))


def show_machine() -> None:
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.M)
    print(
        f"machine: {model[1] if model else os.uname().machine}, "
        f"{len(os.sched_getaffinity(0))} cores; "
        f"{time.strftime('%Y-%m-%d')}"
    )


def show_kernels(core: int) -> None:
    """MatMul at M = 256 against oneDNN, FP32 in and out."""
    command = [
        benchmark("kernels"),
        "--benchmark_filter=/256x",
    ]
    output = run_pinned(core, command, os.environ)
    print("\n" + output[output.rindex("\nkernel ") + 1 :].rstrip())


def show_forward(core: int, rounds: int) -> None:
    """MiniLM Forward in process: octet FP32, octet INT8, ONNX Runtime FP32."""
    ort = onnx_runtime(core)
    seconds = {"octet_fp32": [], "octet_int8": [], "onnxruntime_fp32": []}
    for _ in range(rounds):
        seconds["octet_fp32"].append(octet_forward(core, "fp32"))
        seconds["octet_int8"].append(octet_forward(core, "w8a8_dynamic"))
        seconds["onnxruntime_fp32"].append(ort())
    print(
        f"\nMiniLM Forward, {SEQUENCES} x {TOKENS} tokens, one thread, median "
        f"of {rounds} turns"
    )
    for name, times in seconds.items():
        ratios = [t / i for t, i in zip(times, seconds["octet_int8"])]
        print(
            f"{name:18}{1e3 * statistics.median(times):9.1f} ms"
            f"{statistics.median(ratios):8.2f} x octet_int8"
        )


def octet_forward(core: int, scheme: str) -> float:
    name = f"^Forward/{scheme}/{SEQUENCES}/{TOKENS}/1/"
    command = [
        benchmark("model"),
        f"--benchmark_filter={name}",
        "--benchmark_format=json",
        "--benchmark_min_time=1",
    ]
    environment = os.environ | {"OCTET_CHECKPOINT": str(paths.minilm())}
    result = json.loads(run_pinned(core, command, environment))
    return 1e-3 * result["benchmarks"][0]["real_time"]


def onnx_runtime(core: int):
    """Returns a function that times one Forward, the median of a second."""
    reference = BertReference(paths.minilm(), threads=1)
    ids = (
        np.random.default_rng(1)
        .integers(0, 30522, (SEQUENCES, TOKENS))
        .tolist()
    )

    def measure() -> float:
        home = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        times = []
        while sum(times) < 1.0 or len(times) < 3:
            started = time.perf_counter()
            reference.run(ids)
            times.append(time.perf_counter() - started)
        os.sched_setaffinity(0, home)
        return statistics.median(times[1:])

    return measure


def show_main_job(directory: pathlib.Path) -> None:
    """Size and accuracy by the quickstart's client; then what a start costs."""
    server = Server(directory / "data")
    try:
        result = quickstart(server, directory / "result.json")
        print("\nbundle, and INT8 against FP32 embeddings of unseen texts")
        for scheme, size in result["size"].items():
            accuracy = result["accuracy"][scheme]
            ratio = size["linear_stored_bytes"] / size["linear_float_bytes"]
            print(
                f"{scheme:18} linear bytes {ratio:.4f} of FP32, cosine mean "
                f"{accuracy['mean_cosine']:.5f}, worst "
                f"{accuracy['worst_cosine']:.5f}"
            )
        show_start(server)
    finally:
        server.stop()


def quickstart(server: Server, result: pathlib.Path) -> dict:
    subprocess.run(
        [
            sys.executable,
            ROOT / "client/python/examples/quickstart.py",
            "--server",
            server.address,
            "--metrics",
            f"http://{server.metrics_address}/metrics",
            "--checkpoint",
            paths.minilm(),
            "--texts",
            "/usr/share/games/fortunes",
            "--json",
            result,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return json.loads(result.read_text())


def show_start(server: Server) -> None:
    """CPU time until ready and resident memory, with one INT8 bundle loaded."""
    environment = os.environ | {"OCTET_SERVER": server.address}
    for model in ("minilm-fp32", "minilm-llm-int8"):
        subprocess.run(
            [paths.binary("octet"), "model", "unload", model],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    seconds, resident = [], []
    for _ in range(START_ROUNDS):
        server.stop()
        server.start()
        process = pathlib.Path(f"/proc/{server.process.pid}")
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])  # utime, stime
        seconds.append(ticks / os.sysconf("SC_CLK_TCK"))
        status = (process / "status").read_text()
        resident.append(int(re.search(r"VmRSS:\s*(\d+) kB", status)[1]) / 1024)
    print(
        f"\nserver start with the INT8 bundle loaded: "
        f"{statistics.median(seconds):.2f} s of CPU time; idle RSS "
        f"{statistics.median(resident):.0f} MiB"
    )


def benchmark(folder: str) -> pathlib.Path:
    directory = paths.build_dir() / "tests/benchmarks" / folder
    return directory / f"octet_{folder}_benchmark"


def run_pinned(core: int, command: list, environment) -> str:
    return subprocess.run(
        [str(part) for part in command],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    ).stdout


if __name__ == "__main__":
    main()
