"""Other engines load our bundles: config.json says the quantization in
compressed-tensors form, and transformers reads it."""

import json
import os
import shutil
import subprocess

import grpc
import numpy as np
import pytest
import safetensors.numpy

from support import archives, checkpoints, texts
from support.api import pb
from support.client import token_inputs
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

SCRIPT = """
import json, sys
import numpy, torch, transformers
directory, sequences, out, saved = sys.argv[1:]
model = transformers.AutoModel.from_pretrained(directory).eval()
if saved:
    model.save_pretrained(saved)
rows = []
with torch.no_grad():
    for ids in json.load(open(sequences)):
        states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        row = states.float().mean(0)
        rows.append((row / row.norm()).numpy())
numpy.save(out, numpy.stack(rows))
"""


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


def unpack(client, name, directory):
    for info, data in archives.members(client.download_bundle(name)):
        path = directory / info.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return json.loads((directory / "config.json").read_text())


@pytest.mark.parametrize("name", ["dynamic", "static", "folded"])
def test_config_says_the_quantization(quantized, tmp_path, name):
    config = unpack(quantized, name, tmp_path)["quantization_config"]
    assert config["quant_method"] == "compressed-tensors"
    assert config["format"] == "int-quantized"
    (group,) = config["config_groups"].values()
    assert group["targets"] == ["Linear"]
    assert group["weights"]["num_bits"] == 8
    assert group["weights"]["strategy"] == "channel"
    assert group["input_activations"]["dynamic"] == (name == "dynamic")
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


def test_what_the_format_cannot_say_is_said_so(quantized, tmp_path):
    config = unpack(quantized, "llm-int8", tmp_path)
    assert "quantization_config" not in config
    bundle = quantized.bundles.GetBundle(
        pb.GetBundleRequest(name="bundles/llm-int8"), timeout=60
    )
    assert "outlier" in bundle.compressed_tensors_obstacle
    easy = quantized.bundles.GetBundle(
        pb.GetBundleRequest(name="bundles/dynamic"), timeout=60
    )
    assert easy.compressed_tensors_obstacle == ""


def transformers_rows(directory, sequences, scratch, saved=""):
    """Embeddings as transformers computes them from a directory; `saved`: where
    it writes the model again."""
    (scratch / "sequences.json").write_text(json.dumps(sequences))
    out = scratch / "rows.npy"
    subprocess.run(
        [
            PYTHON,
            "-c",
            SCRIPT,
            directory,
            scratch / "sequences.json",
            out,
            saved,
        ],
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    return np.load(out)


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
    unpack(quantized, name, tmp_path)
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
    config = unpack(quantized, "dynamic", tmp_path)
    group = config["quantization_config"]["config_groups"]["group_0"]
    group["weights"]["num_bits"] = 4
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(grpc.RpcError) as raised:
        upload_directory(quantized, "four-bits", tmp_path)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "group_0.weights.num_bits: is '4'" in raised.value.details()


@pytest.mark.heavy
@needs_transformers
@pytest.mark.parametrize("name", ["dynamic", "static", "folded"])
def test_transformers_loads_the_bundle(quantized, held_out, tmp_path, name):
    unpack(quantized, name, tmp_path / "bundle")
    sequences = held_out[:16]
    rows = transformers_rows(tmp_path / "bundle", sequences, tmp_path)
    ours = quantized.embed(name, sequences)
    cosine = np.sum(rows * ours, axis=1)
    print(
        f"{name}: cosine to transformers {cosine.mean():.6f}, "
        f"worst {cosine.min():.6f}"
    )
    # It computes in FP16, scales rounded to that, too, and takes a token's
    # scale from 127.5 steps to a side, where ours has 127. Values on the edge
    # of a step fall elsewhere then, and that goes through every layer: scales
    # larger by 1e-4 alone make 0.9975 of our own dynamic embeddings.
    assert cosine.mean() > 0.99
    # What is not quantized alike would be further off than float is.
    assert cosine.mean() > 1 - 4 * (
        1 - np.sum(ours * quantized.embed("minilm", sequences), axis=1).mean()
    )


@pytest.mark.heavy
@needs_transformers
@pytest.mark.parametrize("name", ["dynamic", "static"])
def test_what_transformers_saves_is_served(quantized, held_out, tmp_path, name):
    unpack(quantized, name, tmp_path / "bundle")
    sequences = held_out[:8]
    saved = tmp_path / "saved"
    transformers_rows(tmp_path / "bundle", sequences[:1], tmp_path, saved)
    for extra in ("modules.json", "1_Pooling/config.json"):
        (saved / extra).parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "bundle" / extra, saved / extra)
    upload_directory(quantized, f"saved-{name}", saved)
    # It computes in FP16, and writes scales so; the codes are ours.
    rounded = tmp_path / "bundle/model.safetensors"
    tensors = safetensors.numpy.load_file(rounded)
    for tensor in tensors:
        if tensor.endswith("_scale"):
            tensors[tensor] = tensors[tensor].astype(np.float16)
    safetensors.numpy.save_file(tensors, rounded)
    upload_directory(quantized, f"rounded-{name}", tmp_path / "bundle")
    assert (
        quantized.embed(f"saved-{name}", sequences).tobytes()
        == quantized.embed(f"rounded-{name}", sequences).tobytes()
    )
