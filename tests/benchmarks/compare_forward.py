"""MiniLM's Forward, Octet beside its rivals: one table, measured now.

As in compare_linear.py, every engine is a process of its own, and they take
turns. Token ids go in, hidden states come out as FP32. In the table,
milliseconds; behind each rival, how many times as fast Octet's INT8 is.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from harness.engines import machine, python, start
from harness.measure import take_turns
from harness.verdict import print_verdict

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from support import paths  # noqa: E402

BATCHES = [(1, 16), (1, 128), (8, 128), (32, 128)]  # sequences x tokens
OCTET = ("octet", "int8")
RIVALS = ["onnxruntime", "openvino", "ctranslate2"]
WIDTH = 19


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="one thread, no 32 x 128")
    add("--json", type=pathlib.Path, help="all times, as a file")
    add("--build", type=pathlib.Path, help="default: build/release")
    add("--models", type=pathlib.Path, help="where rivals' models are kept")
    add("--rounds", type=int, default=7)
    args = parser.parse_args()
    build = (args.build or paths.build_dir()).resolve()
    print(machine())
    result = {}
    with tempfile.TemporaryDirectory(prefix="octet-bench-") as scratch:
        models = (args.models or pathlib.Path(scratch)).resolve()
        if not (models / "complete").exists():
            make_models(models)
        for threads in (1,) if args.quick else (1, 2):
            batches = BATCHES[:-1] if args.quick else BATCHES
            result[threads] = compare(
                build, models, threads, batches, args.rounds
            )
    print("\ntargets")
    for threads, turns in result.items():
        print_verdicts(threads, turns)
    if args.json:
        args.json.write_text(json.dumps(as_text(result), indent=1))


def make_models(folder) -> None:
    # In another process: what it imports shall not stay in this one.
    subprocess.run(
        python("model.minilm_models", paths.minilm(), folder),
        cwd=ROOT / "tests/benchmarks",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    (folder / "complete").touch()


def compare(build, models, threads, batches, rounds) -> dict:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < threads:
        print(f"\n{threads} threads: NOT MEASURED, {len(cores)} core only")
        return {}
    worker = build / "tests/benchmarks/model/octet_model_worker"
    commands = {"octet": [worker, paths.minilm(), threads]} | {
        name: python("model.forward_worker", name, models, threads)
        for name in RIVALS
    }
    print()
    engines = start(commands, set(cores[-threads:]))
    columns = [(e, v) for v in ("int8", "fp32") for e in engines]
    print(f"\n{threads} thread{'s'[: threads - 1]}")
    print("".join(f"{f'{e} {v}':>{WIDTH}}" for e, v in [("", ""), *columns]))
    result = {}
    for batch in batches:
        turns = take_turns(
            engines,
            dict.fromkeys(columns, batch),
            rounds,
            clock="cpu_ns" if threads == 1 else "ns",
        )
        result[batch] = turns
        print_row(batch, turns, columns)
    for engine in engines.values():
        engine.close()
    return result


def print_row(batch, turns, columns) -> None:
    row = f"{'{} x {}'.format(*batch):>{WIDTH}}"
    for column in columns:
        time, ratio = turns.time(column), turns.ratio(column, OCTET)
        field = f"{1e-6 * time:.2f}  {ratio:5.2f}x" if time else "-"
        row += f"{field:>{WIDTH}}"
    print(row, flush=True)


def print_verdicts(threads, result) -> None:
    def against(variant, batches):
        values = []
        for batch in batches:
            if batch in result:
                ratio = result[batch].smallest_ratio(RIVALS, variant, OCTET)
                if ratio is not None:
                    values.append((ratio, "{}x{}".format(*batch)))
        return values

    of = f"{threads} thread{'s'[: threads - 1]}, x the best"
    long = BATCHES[2:]
    print_verdict(f"{of} INT8, 128 tokens", 1.5, against("int8", BATCHES[1:]))
    print_verdict(f"{of} FP32, 8 and 32 x 128", 4.0, against("fp32", long))
    for variant in ("int8", "fp32"):
        print_verdict(
            f"{of} {variant.upper()}, 16 tokens",
            1.0,
            against(variant, BATCHES[:1]),
        )


def as_text(result) -> dict:
    return {
        threads: {
            "{}x{}".format(*batch): {
                "/".join(contestant): ns for contestant, ns in turns.ns.items()
            }
            for batch, turns in batches.items()
        }
        for threads, batches in result.items()
    }


if __name__ == "__main__":
    main()
