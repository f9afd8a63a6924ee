"""A checkpoint far larger than what a job may take of memory: uploaded,
quantized layer by layer on all cores, calibrated or not, cancelled between
layers.

OCTET_SCALE_MB (600) is its size; `tests/run.sh scale` takes 2000, which is what
the bounds were made for."""

import os
import pathlib
import subprocess
import tempfile

import numpy as np
import pytest

from support import large_checkpoint
from support.api import pb
from support.client import Client, tensor
from support.paths import binary
from support.server import Server

MEGABYTES = int(os.environ.get("OCTET_SCALE_MB", "600"))
# Of resident memory above the idle server, mapped pages counted. The same for
# any size: some blocks of 64 MiB. Without blocks, one matrix of the checkpoint
# would take 790 MB alone.
BOUND_MB = 300
# With GPTQ also a layer's Hessian, its factor and what made them, and the rows
# that calibration kept.
CALIBRATED_BOUND_MB = 500
CALIBRATED_ROWS = 64  # of each layer
# GPTQ takes seconds of each core for a layer of 4096 x 4096.
CALIBRATED_LAYERS = ["*"] if MEGABYTES >= 2000 else ["layer.0", "layer.1"]
# A thread took part that took this of its even share of the CPU time.
TAKES_PART = 0.25
SHARD_BYTES = 200_000_000


@pytest.fixture(scope="module")
def served():
    """A server that has the checkpoint "large", and a client of it."""
    with tempfile.TemporaryDirectory(prefix="octet-scale-") as directory:
        root = pathlib.Path(directory)
        source = root / "checkpoint"
        size = large_checkpoint.write(source, MEGABYTES * 10**6)
        assert size > 0.9e6 * MEGABYTES
        # Measuring holds the model in memory, as far as this allows.
        server = Server(root / "data", "--measure-memory-mib=0")
        idle = peak_mb(server)
        subprocess.run(
            [binary("octet"), "checkpoint", "upload", source, "large"],
            check=True,
            capture_output=True,
            timeout=300,
            env={**os.environ, "OCTET_SERVER": server.address},
        )
        print(f"upload of {size / 1e6:.0f} MB: +{peak_mb(server) - idle:.0f}")
        assert peak_mb(server) - idle < BOUND_MB
        with Client(server.address, timeout=600) as client:
            yield server, client
        server.kill()


def peak_mb(server):
    """Most memory the process had since reset_peak."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = (x for x in status.splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


def reset_peak(server):
    pathlib.Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def thread_seconds(server):
    """CPU time of each thread."""
    seconds = {}
    for stat in pathlib.Path(f"/proc/{server.process.pid}/task").glob("*/stat"):
        user, system = stat.read_text().rsplit(")", 1)[1].split()[11:13]
        ticks = int(user) + int(system)
        seconds[stat.parent.name] = ticks / os.sysconf("SC_CLK_TCK")
    return seconds


def cores(server):
    return len(os.sched_getaffinity(server.process.pid))


def listing(server):
    return sorted(
        str(path.relative_to(server.data_dir))
        for path in (server.data_dir / "bundles").rglob("*")
    )


def start(client, bundle, **fields):
    return client.quantization.Quantize(
        pb.QuantizeRequest(
            checkpoint="checkpoints/large",
            bundle_id=bundle,
            max_shard_bytes=SHARD_BYTES,
            **fields,
        ),
        timeout=60,
    )


def seconds(operation):
    return (
        operation.end_time.ToNanoseconds()
        - operation.create_time.ToNanoseconds()
    ) / 1e9


def run(server, client, bundle, **fields):
    """A job that succeeds: its memory above idle, its threads' shares of the
    CPU time, largest first, and its layers."""
    reset_peak(server)
    idle, before = peak_mb(server), thread_seconds(server)
    layers, after = set(), {}
    for state in client.quantization.WatchOperation(
        pb.WatchOperationRequest(name=start(client, bundle, **fields).name),
        timeout=1800,
    ):
        layers.add(state.progress.layer)
        after |= thread_seconds(server)  # of threads that will have ended, too
    assert state.state == pb.Operation.STATE_SUCCEEDED, state.error
    above = peak_mb(server) - idle
    taken = sorted((after[t] - before.get(t, 0.0) for t in after), reverse=True)
    shares = [x / sum(taken) for x in taken]
    print(
        f"{bundle}, {MEGABYTES} MB: +{above:.0f} MB resident, "
        f"{seconds(state):.1f} s; {sum(taken):.1f} CPU seconds, of threads "
        + ", ".join(f"{share:.2f}" for share in shares[: cores(server) + 1])
    )
    return above, shares, layers


def test_memory_is_bounded_and_output_sharded(served):
    server, client = served
    above, shares, layers = run(server, client, "int8")
    assert above < BOUND_MB
    assert {"head", "layer.0", "layer.1"} <= layers
    even = 1 / cores(server)
    busy = [share for share in shares if share > TAKES_PART * even]
    assert len(busy) >= min(2, cores(server))

    bundle = server.data_dir / "bundles/int8"
    shards = sorted(path.name for path in bundle.glob("*.safetensors"))
    assert len(shards) >= 2
    assert "model-00001-of-" in shards[0]
    assert (bundle / "model.safetensors.index.json").exists()
    client.load("large", "bundles/int8")
    client.unload("large")
    client.delete_bundle("int8")


@pytest.fixture(scope="module")
def calibrated(served):
    """The calibration "rows": activations of every layer, as a client uploads
    them that ran the model itself."""
    _, client = served
    client.create_calibration("rows", "large")
    rng = np.random.default_rng(11)
    shape = (CALIBRATED_ROWS, large_checkpoint.WIDTH)
    client.upload_batches(
        "rows",
        [
            pb.NamedActivations(
                layer=layer, rows=tensor(rng.normal(0, 1, shape))
            )
            for layer in large_checkpoint.layers(MEGABYTES * 10**6)
        ],
    )


def test_memory_is_bounded_with_a_calibration(served, calibrated):
    server, client = served
    above, _, _ = run(
        server,
        client,
        "calibrated",
        calibration="calibrations/rows",
        spec=pb.QuantizationSpec(
            scheme=pb.SCHEME_W8A8_STATIC,
            include=CALIBRATED_LAYERS,
            methods=pb.QuantizationMethods(
                smoothing=pb.SMOOTHING_ALPHA,
                smoothing_alpha=0.5,
                rounding=pb.ROUNDING_GPTQ,
            ),
        ),
    )
    assert above < CALIBRATED_BOUND_MB
    client.delete_bundle("calibrated")


def test_a_cancelled_job_leaves_nothing(served):
    server, client = served
    before = listing(server)
    for stage in ("plan", "quantize"):
        operation = start(client, "cancelled")
        for state in client.quantization.WatchOperation(
            pb.WatchOperationRequest(name=operation.name), timeout=300
        ):
            if state.progress.stage == stage and not state.end_time.seconds:
                client.quantization.CancelOperation(
                    pb.CancelOperationRequest(name=operation.name), timeout=60
                )
                break
        *_, last = client.quantization.WatchOperation(
            pb.WatchOperationRequest(name=operation.name), timeout=300
        )
        assert last.state == pb.Operation.STATE_CANCELLED, stage
        assert listing(server) == before, stage
