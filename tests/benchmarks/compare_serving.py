"""Serving under load, Octet beside its rivals: `tests/run.sh bench-serving`.

Sentences of fortunes, 8 to 128 tokens, as embeddings over the Open Inference
Protocol. Everybody shares one machine, the load generator included, and takes
turns; what is printed are medians of the turns. Rivals run behind grpcio's
asyncio server, each with the batching that suits it best (load/rival_engines).
NVIDIA's perf_analyzer measures Octet once more, with the same texts in turn.
Octet's plan is the fastest that `auto` finds with a mean cosine of 0.9992
to FP32, unless --plan names another of quality/plans.py.
"""

import argparse
import concurrent.futures
import json
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import tritonclient.grpc as oip  # noqa: E402

from harness.engines import machine  # noqa: E402
from load import perf_analyzer, perfect_queue  # noqa: E402
from load.contestants import MODEL, Octet, Rival, make_models  # noqa: E402
from load.generator import (  # noqa: E402
    every,
    health_probe,
    load,
    resident_bytes,
)
from load.table import middle, show  # noqa: E402
from quality import measures, plans  # noqa: E402
from support import paths, texts  # noqa: E402
from support.prometheus_text import Samples  # noqa: E402

RIVALS = ("onnxruntime", "openvino")
CLIENTS = 16
BUSY = 0.7  # of saturation
TEXTS = 1000
SHORTEST = 8
SCRAPES = 300
JUDGED = 200  # texts whose embeddings are compared with FP32
OUTPUT = "sentence_embedding"


def main() -> None:
    args = parse_arguments()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="octet-bench-") as scratch:
        folder = pathlib.Path(scratch)
        sequences = folder / "sequences.json"
        ids = token_ids()
        sequences.write_text(json.dumps(ids))
        octet = Octet(folder / "data", plans.PLANS[args.plan])
        contestants = [octet, *start_rivals(args, folder)]
        try:
            result = {
                "turns": take_turns(args, contestants, sequences),
                "closeness": closeness(contestants, octet, ids[:JUDGED]),
            }
            for rival in contestants[1:]:
                rival.stop()
            peak = middle(result["turns"], "octet", "crowd")
            result |= {
                "analyzed": analyze(args, octet, ids, folder),
                "scrape_seconds": cpu_of_a_scrape(octet),
                "busy": at_rate(args, octet, sequences, BUSY * peak),
                "perfect": perfect_queue.milliseconds(
                    [len(sequence) for sequence in ids], peak, BUSY * peak
                ),
                "overload": overload(args, octet, sequences, 2 * peak),
                "impatient": impatient(args, octet, sequences, peak),
            }
        finally:
            for contestant in contestants:
                contestant.stop()
    show(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--plan", choices=plans.PLANS, default="auto-0999")
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=6.0, help="of a turn")
    add("--overload-seconds", type=float, default=60.0)
    add(
        "--rivals-python",
        type=pathlib.Path,
        default=ROOT / ".venv-bench/bin/python",
        help="where tests/benchmarks/requirements.txt is installed",
    )
    add("--models", type=pathlib.Path, help="where rivals' models are kept")
    add("--json", type=pathlib.Path, help="all numbers, as a file")
    return parser.parse_args()


def token_ids() -> list:
    ids = texts.tokenize(paths.minilm(), texts.held_out_texts(TEXTS))
    return [sequence for sequence in ids if len(sequence) >= SHORTEST]


def start_rivals(args, folder) -> list:
    if not args.rivals_python.exists():
        print(f"rivals LEFT OUT: no {args.rivals_python}", file=sys.stderr)
        return []
    models = (args.models or folder / "models").resolve()
    if not (models / "complete").exists():
        make_models(args.rivals_python, models)
    return [Rival(name, args.rivals_python, models) for name in RIVALS]


def take_turns(args, contestants, sequences) -> list:
    """[{contestant: {"crowd": summary, "alone": summary}}], one per round."""
    rounds = []
    for _ in range(args.rounds):
        rounds.append({})
        for contestant in contestants:
            rounds[-1][contestant.name] = {
                shape: load(
                    contestant.address,
                    MODEL,
                    sequences,
                    clients=clients,
                    seconds=args.seconds,
                )
                for shape, clients in (("crowd", CLIENTS), ("alone", 1))
            }
    return rounds


def closeness(contestants, octet, sequences) -> dict:
    """Cosines to FP32, each contestant's answers over the wire."""
    expected = embed(octet.address, octet.float_model, sequences)
    return {
        contestant.name: measures.closeness(
            expected, embed(contestant.address, MODEL, sequences)
        )
        for contestant in contestants
    }


def embed(address, model, sequences) -> np.ndarray:
    rows = []
    with oip.InferenceServerClient(address) as client:
        for ids in sequences:
            tensor = oip.InferInput("input_ids", [1, len(ids)], "INT64")
            tensor.set_data_from_numpy(np.array([ids], np.int64))
            wanted = [oip.InferRequestedOutput(OUTPUT)]
            answer = client.infer(model, [tensor], outputs=wanted)
            rows.append(answer.as_numpy(OUTPUT)[0])
    return np.stack(rows)


def analyze(args, octet, ids, folder) -> dict:
    """{"crowd": ..., "alone": ...} as perf_analyzer sees them."""
    if not perf_analyzer.PROGRAM.exists():
        print(f"LEFT OUT: no {perf_analyzer.PROGRAM}", file=sys.stderr)
        return {}
    inputs = folder / "perf_analyzer.json"
    perf_analyzer.write_inputs(ids, inputs)
    return {
        shape: perf_analyzer.measure(
            octet.address, MODEL, inputs, clients, args.seconds
        )
        for shape, clients in (("crowd", CLIENTS), ("alone", 1))
    }


def cpu_of_a_scrape(octet) -> float:
    """Seconds of one core, of a server that does nothing else, with all the
    metrics that the traffic before left behind."""
    before = octet.server.cpu_seconds()
    for _ in range(SCRAPES):
        octet.metrics()
    return (octet.server.cpu_seconds() - before) / SCRAPES


def at_rate(args, octet, sequences, per_second) -> dict:
    return load(
        octet.address,
        MODEL,
        sequences,
        rate=per_second,
        seconds=4 * args.seconds,
    )


def overload(args, octet, sequences, per_second) -> dict:
    def look():
        return resident_bytes(octet.pid)

    with (
        every(0.1, health_probe(octet.address)) as health,
        every(1.0, look) as memory,
    ):
        summary = load(
            octet.address,
            MODEL,
            sequences,
            rate=per_second,
            seconds=args.overload_seconds,
        )
    tenth = max(1, len(memory) // 10)
    return summary | {
        "always_serving": all(serving for _, serving in health),
        "health_ms": statistics.median(ms for ms, _ in health),
        "health_worst_ms": max(ms for ms, _ in health),
        "memory_growth": max(memory[-tenth:]) / max(memory[tenth : 2 * tenth]),
    }


def impatient(args, octet, sequences, peak) -> dict:
    """Clients that give up 1 ms after they asked, while twice as many others as
    can be served keep the queue full, so that nobody begins at once. How many
    of their requests never reached a kernel?"""

    def dropped(stage):
        return Samples(octet.metrics()).get(
            "octet_work_dropped_total", reason="cancelled", stage=stage
        )

    def ask(seconds, **flags):
        return load(octet.address, MODEL, sequences, seconds=seconds, **flags)

    with concurrent.futures.ThreadPoolExecutor() as others:
        filling = others.submit(ask, args.seconds + 2, rate=2 * peak)
        time.sleep(1)
        before = {stage: dropped(stage) for stage in ("queue", "compute")}
        ask(args.seconds, rate=peak, cancelled_share=1.0)
        filling.result()
    return {stage: dropped(stage) - before[stage] for stage in before}


if __name__ == "__main__":
    main()
