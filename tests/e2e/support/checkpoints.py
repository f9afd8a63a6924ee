"""Small checkpoints with random weights, as {path: bytes}; and the bytes of a
safetensors file spelled out by hand, so that tests can spell it wrong."""

import json
import pathlib
import struct

import numpy as np
import safetensors.numpy

BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 50,
    "max_position_embeddings": 24,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}
MLP = {"model_type": "mlp", "layers": ["fc1", "fc2"], "hidden_act": "relu"}


def safetensors_bytes(tensors) -> bytes:
    return safetensors.numpy.save(tensors)


def raw_safetensors(header, data: bytes, header_length=None) -> bytes:
    """`header` is a dict, or text to be taken as it is."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if header_length is None else header_length
    return struct.pack("<Q", length) + text + data


def json_bytes(value) -> bytes:
    return json.dumps(value).encode()


def linear(rng, out, inp, prefix):
    return {
        f"{prefix}.weight": rng.normal(0, 0.3, (out, inp)).astype(np.float32),
        f"{prefix}.bias": rng.normal(0, 0.1, out).astype(np.float32),
    }


def mlp_tensors(seed=1, widths=(48, 64, 16)):
    rng = np.random.default_rng(seed)
    return linear(rng, widths[1], widths[0], "fc1") | linear(
        rng, widths[2], widths[1], "fc2"
    )


def mlp(seed=1, widths=(48, 64, 16)):
    return {
        "config.json": json_bytes(MLP),
        "model.safetensors": safetensors_bytes(mlp_tensors(seed, widths)),
    }


def linear_set(seed=2, layers=1, out=16, inp=24):
    rng = np.random.default_rng(seed)
    tensors = {}
    for i in range(layers):
        tensors |= linear(rng, out, inp, f"block.{i}.proj")
    return {
        "config.json": json_bytes({"model_type": "linear_set"}),
        "model.safetensors": safetensors_bytes(tensors),
    }


def bert_tensors(seed=3, config=None):
    config = BERT if config is None else config
    rng = np.random.default_rng(seed)
    width, inner = config["hidden_size"], config["intermediate_size"]
    tensors = {}

    def table(name, rows):
        value = rng.normal(0, 1, (rows, width)).astype(np.float32)
        tensors[f"embeddings.{name}.weight"] = value

    def norm(name):
        tensors[f"{name}.weight"] = np.ones(width, np.float32)
        tensors[f"{name}.bias"] = np.zeros(width, np.float32)

    table("word_embeddings", config["vocab_size"])
    table("position_embeddings", config["max_position_embeddings"])
    table("token_type_embeddings", config["type_vocab_size"])
    norm("embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            prefix = f"{layer}.attention.self.{part}"
            tensors.update(linear(rng, width, width, prefix))
        output = f"{layer}.attention.output"
        tensors.update(linear(rng, width, width, f"{output}.dense"))
        norm(f"{output}.LayerNorm")
        tensors.update(linear(rng, inner, width, f"{layer}.intermediate.dense"))
        tensors.update(linear(rng, width, inner, f"{layer}.output.dense"))
        norm(f"{layer}.output.LayerNorm")
    return tensors


def bert(seed=3, **changes):
    """Sentence embeddings: mean pooling and normalization."""
    config = BERT | changes
    return {
        "config.json": json_bytes(config),
        "modules.json": json_bytes(
            [
                {"idx": 0, "path": "", "type": "st.models.Transformer"},
                {"idx": 1, "path": "1_Pooling", "type": "st.models.Pooling"},
                {"idx": 2, "path": "2_Norm", "type": "st.models.Normalize"},
            ]
        ),
        "1_Pooling/config.json": json_bytes(
            {
                "word_embedding_dimension": config["hidden_size"],
                "pooling_mode_mean_tokens": True,
            }
        ),
        "model.safetensors": safetensors_bytes(bert_tensors(seed)),
    }


def from_directory(directory: pathlib.Path):
    """What a user uploads of a Hugging Face directory."""
    wanted = (".json", ".safetensors")
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix in wanted
    }
