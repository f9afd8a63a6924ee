"""Other engines load our bundles: config.json says the quantization in
compressed-tensors form, and transformers reads it."""

import json
import os
import subprocess

import numpy as np
import pytest

from support import archives, checkpoints, texts
from support.api import pb
from support.client import token_inputs

# A Python that has torch, transformers and compressed-tensors. Those take
# gigabytes, so tests/requirements.txt does not have them.
PYTHON = os.environ.get("OCTET_TRANSFORMERS_PYTHON")

SCRIPT = """
import json, sys
import numpy, torch, transformers
directory, sequences, out = sys.argv[1:]
model = transformers.AutoModel.from_pretrained(directory).eval()
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
    return client


def unpack(client, name, directory):
    for info, data in archives.members(client.download_bundle(name)):
        path = directory / info.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return json.loads((directory / "config.json").read_text())


@pytest.mark.parametrize("name", ["dynamic", "static"])
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


@pytest.mark.heavy
@pytest.mark.skipif(
    not PYTHON,
    reason="SKIPPED FOR REAL: set OCTET_TRANSFORMERS_PYTHON to a Python with "
    "torch, transformers and compressed-tensors",
)
@pytest.mark.parametrize("name", ["dynamic", "static"])
def test_transformers_loads_the_bundle(quantized, held_out, tmp_path, name):
    unpack(quantized, name, tmp_path / "bundle")
    sequences = held_out[:16]
    (tmp_path / "sequences.json").write_text(json.dumps(sequences))
    out = tmp_path / "rows.npy"
    subprocess.run(
        [
            *(PYTHON, "-c", SCRIPT, tmp_path / "bundle"),
            *(tmp_path / "sequences.json", out),
        ],
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    ours = quantized.embed(name, sequences)
    cosine = np.sum(np.load(out) * ours, axis=1)
    print(f"{name}: cosine to transformers {cosine.mean():.5f}")
    # It runs fake quantization with 127.5 steps to a side, we with 127.
    assert cosine.mean() > 0.99
