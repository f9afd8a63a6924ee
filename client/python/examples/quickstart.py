"""The main job on a real model: upload a checkpoint, calibrate it on real
texts, quantize it two ways, serve both beside FP32, and say what that cost and
what it brought, on texts from files the calibration never saw.

    python quickstart.py --checkpoint DIR --texts /usr/share/games/fortunes
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time

import grpc
from quickstart_results import (
    SCHEMES,
    Bar,
    mib,
    model_id,
    say,
    show_accuracy,
    show_latency,
    show_layers,
    show_matmul,
    show_metrics,
    show_sizes,
)

import octet_client
import octet_client.text


def main() -> None:
    args = parse_arguments()
    calibration_texts, unseen_texts, sources = split_texts(
        pathlib.Path(args.texts), args.calibration_samples, args.unseen_samples
    )
    result: dict = {"texts": sources}
    with octet_client.Client(args.server) as client:
        forget_earlier_run(client, args.id)
        result["checkpoint"] = upload(client, args)
        client.load(f"{args.id}-fp32", f"checkpoints/{args.id}")
        embedders = {"fp32": embedder(client, args, "fp32")}
        calibrate(client, args, embedders["fp32"], calibration_texts, sources)
        reports = {}
        for scheme in SCHEMES:
            reports[scheme] = quantize(client, args, scheme)
            embedders[scheme] = embedder(client, args, scheme)
        result["size"] = show_sizes(reports)
        result["layers"] = show_layers(reports)
        result["accuracy"] = show_accuracy(embedders, unseen_texts, sources)
        result["latency"] = show_latency(client, args, embedders, unseen_texts)
        result["matmul"] = show_matmul(client, args)
    result["metrics"] = show_metrics(args)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(result, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--server", default="127.0.0.1:8001")
    parser.add_argument("--metrics", default="http://127.0.0.1:8002/metrics")
    parser.add_argument("--checkpoint", required=True, metavar="DIR")
    parser.add_argument("--texts", required=True, metavar="DIR")
    parser.add_argument("--calibration-samples", type=int, default=256)
    parser.add_argument("--unseen-samples", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--id", default="minilm", help="prefix of all ids")
    parser.add_argument("--json", metavar="FILE", help="all numbers, too")
    return parser.parse_args()


# Texts


def split_texts(
    directory: pathlib.Path, calibration: int, unseen: int
) -> tuple[list[str], list[str], dict]:
    """Every third file is kept for the comparison, the others calibrate."""
    files = [
        path
        for path in sorted(directory.iterdir())
        if path.is_file() and path.suffix not in (".dat", ".u8")
    ]
    held_out = files[2::3]
    known = [path for path in files if path not in held_out]
    seen = spread(known, calibration, set())
    fresh = spread(held_out, unseen, set(seen))
    if len(seen) < calibration or not fresh:
        sys.exit(f"{directory} has {len(seen)} texts to calibrate with")
    sources = {
        "calibration_files": [path.name for path in known],
        "calibration_texts": len(seen),
        "unseen_files": [path.name for path in held_out],
        "unseen_texts": len(fresh),
    }
    return seen, fresh, sources


def spread(files: list[pathlib.Path], count: int, without: set) -> list[str]:
    """`count` texts, taken from the files in turn."""
    piles = []
    for path in files:
        texts = path.read_text("utf-8", errors="replace").split("\n%\n")
        piles.append([t.strip() for t in texts if len(t.strip()) >= 20])
    chosen: dict[str, None] = {}
    for turn in range(max(map(len, piles), default=0)):
        for pile in piles:
            if turn < len(pile) and pile[turn] not in without:
                chosen.setdefault(pile[turn])
                if len(chosen) == count:
                    return list(chosen)
    return list(chosen)


# The steps


def forget_earlier_run(client: octet_client.Client, id: str) -> None:
    """So that the quickstart can run twice on one server."""
    names = [scheme.replace("_", "-") for scheme in SCHEMES]
    steps = [(client.unload, f"{id}-{name}") for name in ["fp32", *names]]
    steps += [(client.delete_bundle, f"{id}-{name}") for name in names]
    steps += [(client.delete_calibration, id), (client.delete_checkpoint, id)]
    for step, name in steps:
        try:
            step(name)
        except octet_client.OctetError as error:
            if error.code is not grpc.StatusCode.NOT_FOUND:
                raise


def upload(client: octet_client.Client, args: argparse.Namespace) -> dict:
    say("Uploading the FP32 checkpoint")
    started = time.perf_counter()
    bar = Bar("bytes")
    checkpoint = client.upload_checkpoint(args.checkpoint, args.id, bar)
    bar.done()
    size = sum(file.size_bytes for file in checkpoint.files)
    print(
        f"{checkpoint.family}: {len(checkpoint.layers)} linear layers, "
        f"{checkpoint.parameter_count:,} parameters,\n{mib(size)} in "
        f"{len(checkpoint.files)} files, "
        f"{time.perf_counter() - started:.1f} s"
    )
    return {"family": checkpoint.family, "bytes": size}


def embedder(
    client: octet_client.Client, args: argparse.Namespace, name: str
) -> octet_client.text.Embedder:
    return octet_client.text.Embedder(
        client, model_id(args, name), args.checkpoint
    )


def calibrate(
    client: octet_client.Client,
    args: argparse.Namespace,
    tokenizer: octet_client.text.Embedder,
    texts: list[str],
    sources: dict,
) -> None:
    say("Calibrating on real texts")
    started = time.perf_counter()
    client.create_calibration(args.id, args.id)
    ids = tokenizer.tokenize(texts)
    batches = (ids[i : i + 16] for i in range(0, len(ids), 16))
    added = client.calibrate(args.id, batches)
    layers = client.get_calibration(args.id).layers
    widest = max(layers, key=lambda layer: max(layer.max, -layer.min))
    print(
        f"{added.accepted_samples} texts in {added.accepted_batches} batches "
        f"from {len(sources['calibration_files'])} files, "
        f"{sum(map(len, ids)):,} tokens, "
        f"{time.perf_counter() - started:.1f} s\n"
        f"widest input: {widest.layer} [{widest.min:.1f}, {widest.max:.1f}],\n"
        f"  {widest.outlier_count} columns with |x| >= 6"
    )
    for warning in added.calibration.warnings:
        print(f"warning: {warning}")


def quantize(
    client: octet_client.Client, args: argparse.Namespace, scheme: str
):
    say(f"Quantizing: {scheme}")
    started = time.perf_counter()
    bar = Bar("steps")
    name = model_id(args, scheme)
    client.quantize(
        args.id,
        name,
        calibration=args.id,
        scheme=scheme,
        progress=lambda operation: bar(
            operation.progress.done_steps, operation.progress.total_steps
        ),
    )
    bar.done()
    report = client.report(name)
    model = client.load(name, f"bundles/{name}")
    print(
        f"bundles/{name} in {time.perf_counter() - started:.1f} s; served as "
        f"{model.name}\nwith {model.isa or 'float'} kernels, "
        f"{mib(model.resident_bytes)} resident"
    )
    for warning in report.warnings:
        print(f"warning: {warning}")
    return report


if __name__ == "__main__":
    try:
        main()
    except octet_client.OctetError as failure:
        sys.exit(f"octet: {failure}")
