"""Other engines load our bundles: config.json says the quantization in
compressed-tensors form, and transformers reads it."""

import json
import os
import shutil
import subprocess

import grpc
import numpy as np
import pytest

from support import bundle_reader, checkpoints, texts
from support.api import pb
from support.client import token_inputs
from support.measures import cosines
from support.paths import ROOT

# A Python that has torch, transformers and compressed-tensors: what
# tests/interop/make_venv.sh makes, or OCTET_TRANSFORMERS_PYTHON.
MADE = ROOT / ".venv-interop/bin/python"
PYTHON = os.environ.get("OCTET_TRANSFORMERS_PYTHON") or (
    str(MADE) if MADE.exists() else None
)
needs_transformers = pytest.mark.skipif(
    not PYTHON,
    reason="SKIPPED FOR REAL: tests/run.sh interop makes what this needs",
)

SCRIPT = ROOT / "tests/interop/run_model.py"


@pytest.fixture(scope="module")
def quantized(client, model_dir):
    client.upload_checkpoint("minilm", checkpoints.from_directory(model_dir))
    client.create_calibration("texts", "minilm")
    sequences = texts.tokenize(model_dir, texts.calibration_texts(100))
    client.upload_batches("texts", [token_inputs(sequences)])
    for name, scheme in (
        ("dynamic", pb.SCHEME_W8A8_DYNAMIC),
        ("static", pb.SCHEME_W8A8_STATIC),
        ("llm-int8", pb.SCHEME_LLM_INT8),
    ):
        client.quantize("minilm", name, "texts", scheme=scheme)
        client.load(name, f"bundles/{name}")
    # Attention's values can divide for what follows them.
    client.quantize(
        "minilm",
        "folded",
        "texts",
        scheme=pb.SCHEME_W8A8_STATIC,
        overrides=[
            pb.SchemeOverride(
                pattern="*.attention.output.dense",
                methods=pb.QuantizationMethods(smoothing=pb.SMOOTHING_SEARCH),
            )
        ],
    )
    client.load("folded", "bundles/folded")
    client.load("minilm", "checkpoints/minilm")
    return client


def config_of(client, name):
    return json.loads(client.bundle_files(name)["config.json"])


@pytest.mark.parametrize("name", ["dynamic", "static", "folded"])
def test_config_says_the_quantization(quantized, name):
    config = config_of(quantized, name)["quantization_config"]
    assert config["quant_method"] == "compressed-tensors"
    assert config["format"] == "int-quantized"
    (group,) = config["config_groups"].values()
    assert group["targets"] == ["Linear"]
    assert group["weights"]["num_bits"] == 8
    assert group["weights"]["strategy"] == "channel"
    assert group["input_activations"]["dynamic"] == (name == "dynamic")
    assert config_of(quantized, name)["torch_dtype"] == "float32"
    # Linears that are not ours (the pooler) must be left alone.
    assert "pooler.dense" in config["ignore"]


def test_folded_smoothing_keeps_the_models_function(quantized, held_out):
    folds = {
        layer.layer: layer.smoothing_folded_into
        for layer in quantized.report("folded").layers
        if layer.smoothing_folded_into
    }
    attention = "encoder.layer.{}.attention."
    assert folds == {
        attention.format(i) + "output.dense": attention.format(i) + "self.value"
        for i in range(6)
    }
    sequences = held_out[:16]
    exact = quantized.embed("minilm", sequences)
    with_folds = quantized.embed("folded", sequences)
    without = quantized.embed("static", sequences)
    assert np.sum(exact * with_folds, 1).mean() > 0.98
    assert (
        np.sum(exact * with_folds, 1).mean()
        > np.sum(exact * without, 1).mean() - 0.002
    )


def test_what_the_format_cannot_say_is_said_so(quantized):
    assert "quantization_config" not in config_of(quantized, "llm-int8")
    bundle = quantized.bundles.GetBundle(
        pb.GetBundleRequest(name="bundles/llm-int8"), timeout=60
    )
    assert "outlier" in bundle.compressed_tensors_obstacle
    easy = quantized.bundles.GetBundle(
        pb.GetBundleRequest(name="bundles/dynamic"), timeout=60
    )
    assert easy.compressed_tensors_obstacle == ""


def run_in_transformers(folder, sequences, scratch, *saved):
    """What tests/interop/run_model.py writes of a bundle's folder."""
    ids, out = scratch / "ids.json", scratch / "out.npz"
    ids.write_text(json.dumps(sequences))
    subprocess.run(
        [PYTHON, SCRIPT, folder, ids, out, *saved],
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    return dict(np.load(out))


def upload_directory(client, name, directory):
    """As somebody does who never heard of octet.json."""
    files = checkpoints.from_directory(directory)
    files.pop("octet.json", None)
    client.upload_checkpoint(name, files)
    client.load(name, f"checkpoints/{name}")


@pytest.mark.parametrize("name", ["dynamic", "static", "folded"])
def test_a_quantized_checkpoint_is_served_as_it_is(
    quantized, held_out, tmp_path, name
):
    quantized.unpack_bundle(name, tmp_path)
    came = f"came-{name}"
    upload_directory(quantized, came, tmp_path)
    sequences = held_out[:8]
    assert (
        quantized.embed(came, sequences).tobytes()
        == quantized.embed(name, sequences).tobytes()
    )
    with pytest.raises(grpc.RpcError) as raised:
        quantized.quantize(came, "again")
    assert raised.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "quantized already" in raised.value.details()


def test_an_unsupported_checkpoint_names_the_field(quantized, tmp_path):
    quantized.unpack_bundle("dynamic", tmp_path)
    config = config_of(quantized, "dynamic")
    group = config["quantization_config"]["config_groups"]["group_0"]
    group["weights"]["num_bits"] = 4
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(grpc.RpcError) as raised:
        upload_directory(quantized, "four-bits", tmp_path)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "group_0.weights.num_bits: is '4'" in raised.value.details()


@pytest.fixture(scope="module", params=["dynamic", "static", "folded"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def folder(name, quantized, tmp_path_factory):
    return quantized.unpack_bundle(name, tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def theirs(folder, held_out, tmp_path_factory):
    """What transformers makes of the bundle, and saves again."""
    scratch = tmp_path_factory.mktemp("theirs")
    saved = folder.with_name(f"{folder.name}-saved")
    return run_in_transformers(folder, held_out[:16], scratch, saved)


def of_layers(theirs, run):
    """Layer, its inputs and outputs there, its weights and scales here."""
    for key in theirs:
        if key.startswith(f"{run}/x/"):
            layer = key.removeprefix(f"{run}/x/")
            yield layer, theirs[key], theirs[f"{run}/y/{layer}"]


def rounding(x, weight):
    """Of a product in FP32: what the order of the sums may change."""
    return 2e-6 * (np.abs(x) @ np.abs(weight).T) + 1e-6


def ties(x, scale, weight):
    """What values within a rounding error of the border between two codes are
    worth, one code each; Octet multiplies by the scale's reciprocal."""
    steps = np.abs(x / scale)
    at_border = np.abs(steps - np.floor(steps) - 0.5) < 1e-4
    return (at_border * scale) @ np.abs(weight).T


def of_rows(x, steps):
    return np.abs(x).max(axis=1, keepdims=True) / steps


@pytest.mark.heavy
@needs_transformers
def test_weights_are_the_same_bit_for_bit(folder, theirs):
    weights = dict(bundle_reader.weights(folder))
    assert len(weights) == 36
    for layer, weight in weights.items():
        loaded = theirs[f"weight/{layer}"]
        assert loaded.dtype == weight.dtype == np.float32
        assert loaded.tobytes() == weight.tobytes(), layer


@pytest.mark.heavy
@needs_transformers
def test_layers_compute_the_same(quantized, name, folder, theirs):
    """On the inputs that the model has there. Dynamic scales: with codes from
    -127 to 127; as they come, within half a step of each."""
    weights = dict(bundle_reader.weights(folder))
    tensors = bundle_reader.tensors(folder)
    exact = 0
    for layer, x, y in of_layers(theirs, run_like_ours(name)):
        weight = weights[layer]
        scale = tensors.get(f"{layer}.input_scale", of_rows(x, 127))
        difference = np.abs(y - quantized.matmul(name, layer, x))
        limit = rounding(x, weight)
        exact += (difference <= limit).all()
        assert (difference <= limit + ties(x, scale, weight)).all(), layer
    assert exact >= 24  # in the others some value is at a border
    if name != "dynamic":
        return
    for layer, x, y in of_layers(theirs, "loaded"):
        weight = weights[layer]
        difference = np.abs(y - quantized.matmul(name, layer, x))
        steps = of_rows(x, 127) + of_rows(x, 127.5)
        half_steps = steps / 2 * np.abs(weight).sum(axis=1)
        assert (difference <= half_steps + rounding(x, weight)).all(), layer
        assert (difference > rounding(x, weight)).any(axis=1).all(), layer


def run_like_ours(name):
    return "narrow" if name == "dynamic" else "loaded"


@pytest.mark.heavy
@needs_transformers
def test_a_whole_model_ends_as_near(quantized, held_out, name, theirs):
    """Not at the same place: see docs/bundle-format.md, and the small model
    below, which ends there."""
    ours = quantized.embed_all(name, held_out[:16])
    exact = quantized.embed_all("minilm", held_out[:16])
    loaded = theirs["loaded/embeddings"]
    cost = 1 - cosines(ours, exact).mean()
    print(
        f"{name}: 1 - cosine to FP32 {cost:.2e} here, "
        f"{1 - cosines(loaded, exact).mean():.2e} there, "
        f"to each other {1 - cosines(loaded, ours).mean():.2e}"
    )
    assert 1 - cosines(loaded, exact).mean() < 1.3 * cost
    assert 1 - cosines(loaded, ours).mean() < 1.3 * cost


@pytest.fixture(scope="module")
def small(client):
    """Two blocks and a pooler, which transformers wants; and sequences."""
    rng = np.random.default_rng(5)
    sequences = [
        rng.integers(0, checkpoints.BERT["vocab_size"], n).tolist()
        for n in rng.integers(2, 12, 64)
    ]
    width = checkpoints.BERT["hidden_size"]
    tensors = checkpoints.bert_tensors()
    tensors |= checkpoints.linear(rng, width, width, "pooler.dense")
    files = checkpoints.bert() | {
        "model.safetensors": checkpoints.safetensors_bytes(tensors)
    }
    client.upload_checkpoint("small", files)
    client.create_calibration("small", "small")
    client.upload_texts("small", sequences)
    return sequences


@pytest.mark.heavy
@needs_transformers
@pytest.mark.parametrize("scheme", ["W8A8_DYNAMIC", "W8A8_STATIC"])
def test_a_small_model_computes_the_same(client, small, tmp_path, scheme):
    """Keys stay float, so that attention multiplies in FP32 in both."""
    name = f"small-{scheme.lower().replace('_', '-')}"
    operation = client.quantize(
        "small",
        name,
        "small",
        scheme=getattr(pb, f"SCHEME_{scheme}"),
        exclude=["*.attention.self.key"],
    )
    client.load(name, operation.bundle)
    folder = client.unpack_bundle(name, tmp_path / "bundle")
    theirs = run_in_transformers(folder, small, tmp_path)
    ours = client.embed_all(name, small)
    far = {
        run: np.abs(theirs[f"{run}/embeddings"] - ours).max(axis=1)
        for run in ("loaded", "narrow", "weights")
    }
    print({run: np.quantile(each, [0, 0.5, 1]) for run, each in far.items()})
    same = far["narrow" if "DYNAMIC" in scheme else "loaded"] < 1e-5
    assert same.mean() > 0.8  # in the others some value is at a border
    # It is the activations' codes that are compared here.
    assert far["weights"].min() > 1e-3


@pytest.mark.heavy
@needs_transformers
def test_what_transformers_saves_is_served(
    quantized, held_out, name, folder, theirs
):
    saved = folder.with_name(f"{folder.name}-saved")
    for extra in ("modules.json", "1_Pooling/config.json"):
        (saved / extra).parent.mkdir(exist_ok=True)
        shutil.copy(folder / extra, saved / extra)
    upload_directory(quantized, f"saved-{name}", saved)
    sequences = held_out[:8]
    assert (
        quantized.embed(f"saved-{name}", sequences).tobytes()
        == quantized.embed(name, sequences).tobytes()
    )
