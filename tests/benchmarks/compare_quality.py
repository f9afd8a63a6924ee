"""What quantization plans cost all-MiniLM-L6-v2 in quality, and what they give
in size and speed: `tests/run.sh bench-quality`.

Calibrated on some fortunes files; judged on others, and, where --sts names the
STS benchmark's CSV, on its pairs: Spearman's correlation of cosine
similarities with what people said. FP32 is Octet's own; a rival is compared
with the same. Speed is plain w8a8_dynamic's time over the plan's, Forward of
8 x 128 tokens in turns; above 1 is faster. A job's cost is the server's CPU
time, whatever else the machine does. Exits with 1 where a target is missed.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from harness.engines import machine  # noqa: E402
from quality import measures, plans, table  # noqa: E402
from support import checkpoints, paths, texts  # noqa: E402
from support.api import pb  # noqa: E402
from support.client import Client, token_inputs  # noqa: E402
from support.server import Server  # noqa: E402

RIVALS = ("onnxruntime", "openvino", "ctranslate2")
SPEED_SHAPE = (8, 128)
TIMEOUT = 600.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--sts", type=pathlib.Path, help="sts-dev.csv or sts-test.csv")
    add("--plan", action="append", help="only plans of this name; repeatable")
    add("--calibration-texts", type=int, default=512)
    add("--held-out-texts", type=int, default=400)
    add("--rounds", type=int, default=15, help="of the speed measurement")
    add(
        "--rivals-python",
        type=pathlib.Path,
        default=ROOT / ".venv-bench/bin/python",
        help="where tests/benchmarks/requirements.txt is installed",
    )
    add("--json", type=pathlib.Path, help="all numbers, as a file")
    args = parser.parse_args()
    print(machine())
    data = Data(args)
    with tempfile.TemporaryDirectory(prefix="octet-bench-") as scratch:
        folder = pathlib.Path(scratch)
        rows = octet(data, folder / "data", args)
        rows += rivals(data, folder / "rivals", args.rivals_python)
    all_met = table.show(rows, with_pairs=data.pairs is not None)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    return 0 if all_met else 1


class Data:
    """Token ids of all texts."""

    def __init__(self, args):
        def tokenize(lines):
            return texts.tokenize(paths.minilm(), lines)

        self.calibration = tokenize(
            texts.calibration_texts(args.calibration_texts)
        )
        self.held_out = tokenize(texts.held_out_texts(args.held_out_texts))
        self.pairs, self.scores = None, None
        if args.sts:
            lefts, rights, self.scores = measures.read_pairs(args.sts)
            self.pairs = tokenize(lefts), tokenize(rights)

    def sequences(self) -> list:
        lefts, rights = self.pairs or ([], [])
        return self.held_out + lefts + rights

    def judge(self, expected, actual) -> dict:
        """Embeddings of `sequences`, FP32 and quantized."""
        held_out = len(self.held_out)
        row = measures.closeness(expected[:held_out], actual[:held_out])
        if self.pairs:
            row["pairs"] = measures.closeness(
                expected[held_out:], actual[held_out:]
            )
            row["pairs"]["spearman_lost"] = measures.correlation(
                expected[held_out:], self.scores
            ) - measures.correlation(actual[held_out:], self.scores)
        return row


def octet(data, directory, args) -> list:
    server = Server(directory)
    with Client(server.address, timeout=TIMEOUT) as client:
        client.upload_checkpoint(
            "minilm", checkpoints.from_directory(paths.minilm())
        )
        client.create_calibration("texts", "minilm")
        client.upload_texts("texts", data.calibration)
        client.load("fp32", "checkpoints/minilm")
        expected = client.embed_all("fp32", data.sequences())
        rows = [
            octet_plan(server, client, data, expected, name, spec)
            for name, spec in plans.chosen(args.plan).items()
        ]
        measure_speed(client, rows, args.rounds)
    server.stop()
    return rows


def octet_plan(server, client, data, expected, name, spec) -> dict:
    before = server.cpu_seconds()
    operation = client.quantize("minilm", name, "texts", **spec)
    cpu_seconds = server.cpu_seconds() - before
    if operation.state != pb.Operation.STATE_SUCCEEDED:
        print(f"{name}: {operation.error.message}", file=sys.stderr)
        return {"engine": "octet", "plan": name, "failed": True}
    client.load(name, f"bundles/{name}")
    report = client.report(name)
    return {
        "engine": "octet",
        "plan": name,
        "cpu_seconds": cpu_seconds,
        "bytes": report.bundle_bytes,
        "linear_ratio": report.linear_stored_bytes / report.linear_float_bytes,
        "float_layers": sum(
            layer.scheme in (pb.SCHEME_FP32, pb.SCHEME_BF16, pb.SCHEME_FP16)
            for layer in report.layers
        ),
        **data.judge(expected, client.embed_all(name, data.sequences())),
    }


def measure_speed(client, rows, rounds) -> None:
    """In turns; each turn's time over that of the first plan's turn."""
    done = [row for row in rows if not row.get("failed")]
    ids = np.random.default_rng(1).integers(1000, 30000, SPEED_SHAPE)
    inputs = token_inputs(ids.tolist())
    times = {row["plan"]: [] for row in done}
    for _ in range(rounds):
        for name, turns in times.items():
            timings = client.forward_response(name, inputs).timings
            turns.append(
                timings.total.ToNanoseconds() - timings.queue.ToNanoseconds()
            )
    for row in done:
        row["speed"] = float(
            np.median(np.divide(times[done[0]["plan"]], times[row["plan"]]))
        )


def rivals(data, folder, python) -> list:
    if not python.exists():
        print(f"rivals LEFT OUT: no {python}", file=sys.stderr)
        return []
    folder.mkdir()
    (folder / "calibration.json").write_text(json.dumps(data.calibration))
    (folder / "texts.json").write_text(json.dumps(data.sequences()))
    run = [str(python), "-m"]
    make = ["model.minilm_models", paths.minilm(), folder]
    call([*run, *make, folder / "calibration.json"])
    rows = []
    for engine in RIVALS:
        embeddings = {}
        for variant in ("fp32", "int8"):
            out = folder / f"{engine}-{variant}.npy"
            call([*run, "quality.rival", engine, variant, folder, out])
            embeddings[variant] = np.load(out)
        rows.append(
            {
                "engine": engine,
                "plan": "int8",
                **data.judge(embeddings["fp32"], embeddings["int8"]),
            }
        )
    return rows


def call(command) -> None:
    subprocess.run(
        [str(word) for word in command],
        cwd=ROOT / "tests/benchmarks",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


if __name__ == "__main__":
    sys.exit(main())
