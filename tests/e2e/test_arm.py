"""The Arm build on emulated CPUs serves what the host's server has quantized:
the same int32 accumulators, INT8 linears bit for bit, and Forward within the
float rule of kernels/README.md. Nothing is said about speed."""

import shutil

import numpy as np
import pytest

from support import checkpoints, texts
from support.api import pb
from support.client import Client, token_inputs
from support.paths import arm_server
from support.prometheus_text import Samples
from support.server import Server

pytestmark = pytest.mark.skipif(
    arm_server("max") is None,
    reason="NOTHING OF ARM IS TESTED: build the preset arm64-qemu "
    "(tests/run.sh arm does), or set OCTET_ARM64_BUILD_DIR",
)

# What each of them must detect.
CPUS = {
    "max": "dot_s8s8_neon_i8mm_8x12",
    "neoverse-n1": "dot_s8s8_neon_dotprod_6x16",
    "cortex-a72": "dot_s8s8_neon_6x8",
}
SCHEMES = {
    "dynamic": pb.SCHEME_W8A8_DYNAMIC,
    "static": pb.SCHEME_W8A8_STATIC,
    "llm-int8": pb.SCHEME_LLM_INT8,
}
LAYERS = [
    "encoder.layer.0.attention.self.query",
    "encoder.layer.2.intermediate.dense",
    "encoder.layer.5.output.dense",
]
K, N = 1000, 333
TOKENS = 16


def integers(rng, rows, columns):
    """Whole numbers whose rows have the scale 1: their codes are themselves."""
    values = rng.integers(-127, 128, (rows, columns)).astype(np.float32)
    values[:, 0] = 127
    return values


def integer_linear():
    weights = integers(np.random.default_rng(11), N, K)
    return weights, {
        "config.json": checkpoints.json_bytes({"model_type": "linear_set"}),
        "model.safetensors": checkpoints.safetensors_bytes(
            {"proj.weight": weights}
        ),
    }


def quantize(client, checkpoint, bundle, calibration, scheme):
    operation = client.quantize(
        checkpoint,
        bundle,
        calibration,
        scheme=scheme,
        overrides=[pb.SchemeOverride(pattern="*", scheme=scheme)],
    )
    assert operation.state == pb.Operation.STATE_SUCCEEDED, operation
    assert {r.scheme for r in client.report(bundle).layers} == {scheme}


def load_everything(client):
    for name in ("integers", *SCHEMES):
        client.load(name, f"bundles/{name}")
    client.load("fp32", "checkpoints/minilm")


@pytest.fixture(scope="module")
def host(client, model_dir):
    client.upload_checkpoint("integers", integer_linear()[1])
    quantize(client, "integers", "integers", "", pb.SCHEME_W8A8_DYNAMIC)
    client.upload_checkpoint("minilm", checkpoints.from_directory(model_dir))
    client.create_calibration("texts", "minilm")
    sequences = texts.tokenize(model_dir, texts.calibration_texts(32))
    client.upload_batches("texts", [token_inputs(sequences)])
    for name, scheme in SCHEMES.items():
        quantize(client, "minilm", name, "texts", scheme)
    load_everything(client)
    return client


@pytest.fixture(scope="module", params=CPUS)
def arm(request, host, server, tmp_path_factory):
    """A server on an emulated CPU, on a copy of the host's data."""
    data = tmp_path_factory.mktemp("arm") / "data"
    shutil.copytree(server.data_dir, data)
    emulated = Server(
        data, "--threads=2", command=arm_server(request.param), ready_in=120.0
    )
    with Client(emulated.address, timeout=300.0) as client:
        load_everything(client)
        client.cpu = request.param
        client.server = emulated
        client.answers = {}
        yield client
    emulated.kill()
    shutil.rmtree(data)


@pytest.fixture(scope="module")
def forwards():
    """What the first CPU answered, by scheme."""
    return {}


def test_detection_finds_the_kernel_of_the_cpu(arm):
    samples = Samples(arm.server.metrics_text())
    kernels = samples.labels("octet_kernel_info", "kernel")
    assert {k for k in kernels if k.startswith("dot_")} == {CPUS[arm.cpu]}


@pytest.mark.parametrize("rows", [1, 2, 7, 20])
def test_matmul_gives_the_int32_accumulators(host, arm, rows):
    # |sum| <= 1000 * 127 * 127 < 2^24, so FP32 holds every accumulator.
    weights, _ = integer_linear()
    x = integers(np.random.default_rng(rows), rows, K)
    sums = x.astype(np.int64) @ weights.astype(np.int64).T
    for client in (host, arm):
        y = client.matmul("integers", "proj", x)
        np.testing.assert_array_equal(y.astype(np.int64), sums)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("layer", LAYERS)
def test_int8_linears_of_a_real_model_are_bit_equal(host, arm, scheme, layer):
    k = 1536 if layer.endswith("output.dense") else 384
    rng = np.random.default_rng(12)
    x = rng.normal(0, 1, (9, k)).astype(np.float32)
    x[::4, 5] = 25  # live outliers
    for rows in (x[:1], x):
        np.testing.assert_array_equal(
            arm.matmul(scheme, layer, rows).view(np.uint32),
            host.matmul(scheme, layer, rows).view(np.uint32),
        )


def short(held_out):
    return [sequence[:TOKENS] for sequence in held_out[:4]]


def test_fp32_forward_differs_in_last_places_only(host, arm, held_out):
    sequences = [sequence[:8] for sequence in held_out[:2]]  # slow there
    ours = arm.embed("fp32", sequences)
    difference = np.abs(ours - host.embed("fp32", sequences))
    print(f"{arm.cpu}, FP32: largest difference {difference.max():.2e}")
    assert difference.max() < 2e-6


def embeddings(arm, scheme, held_out):
    """Asked once: emulation is slow."""
    if scheme not in arm.answers:
        arm.answers[scheme] = arm.embed(scheme, short(held_out))
    return arm.answers[scheme]


def distance(a, b):
    """1 - cosine, row by row; all rows have length 1."""
    return 1 - np.sum(a.astype(np.float64) * b, axis=1)


# A last place of a layer norm can carry a value over the border between two
# codes. From there on, a sequence is rounded anew: it ends elsewhere, but no
# further from FP32. Sequences where that does not happen agree to 1e-7.
@pytest.mark.parametrize("scheme", SCHEMES)
def test_int8_forward_differs_less_than_int8_costs(host, arm, held_out, scheme):
    sequences = short(held_out)
    fp32 = host.embed("fp32", sequences)
    theirs = host.embed(scheme, sequences)
    ours = embeddings(arm, scheme, held_out)
    print(
        f"{arm.cpu}, {scheme}: 1 - cosine to FP32 "
        f"{distance(theirs, fp32).max():.1e} on the host, "
        f"{distance(ours, fp32).max():.1e} on Arm, "
        f"to each other {distance(ours, theirs).max():.1e}"
    )
    cost = distance(theirs, fp32) + 1e-6
    assert (distance(ours, theirs) < cost).all()
    assert (distance(ours, fp32) < 1.5 * cost).all()


def test_all_arm_kernels_give_the_same_forward(arm, held_out, forwards):
    """Bit for bit: they differ in the dot product only, which is exact."""
    for scheme in SCHEMES:
        ours = embeddings(arm, scheme, held_out)
        first = forwards.setdefault(scheme, ours)
        np.testing.assert_array_equal(ours, first)


def test_a_row_does_not_depend_on_its_batch(arm, held_out):
    together = embeddings(arm, "dynamic", held_out)
    for i, sequence in enumerate(short(held_out)):
        alone = arm.embed("dynamic", [sequence])
        np.testing.assert_array_equal(alone[0], together[i])
