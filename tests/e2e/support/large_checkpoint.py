"""A checkpoint of any size with random 16-bit weights, in shards, as files of
Hugging Face are; written without holding more than a layer."""

import json
import pathlib
import struct

import numpy as np

WIDTH = 4096
LAYER_BYTES = WIDTH * WIDTH * 2
HEAD_ROWS = 32_000  # of one matrix that is larger than any block in memory


def _bits(rng, count, bfloat16):
    """Normal values of sigma 0.02 as FP16 or BF16 bits; drawn once for a
    million of them, since drawing takes longer than all the rest."""
    drawn = rng.normal(0, 0.02, 1 << 20).astype(np.float32)
    if bfloat16:
        bits = (drawn.view(np.uint32) >> 16).astype(np.uint16)
    else:
        bits = drawn.astype(np.float16).view(np.uint16)
    copies = -(-count // bits.size)
    return np.concatenate([np.roll(bits, 4099 * i) for i in range(copies)])[
        :count
    ]


def _write_shard(path, tensors):
    """`tensors`: name -> (dtype, shape, 16-bit patterns)."""
    header, end = {}, 0
    for name, (dtype, shape, bits) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [end, end + bits.nbytes],
        }
        end += bits.nbytes
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, bits in tensors.values():
            bits.tofile(file)


def _layer_count(total_bytes: int) -> int:
    return max(2, (total_bytes - HEAD_ROWS * WIDTH * 2) // LAYER_BYTES)


def layers(total_bytes: int) -> list:
    """Names of the linears in a checkpoint of that size."""
    return ["head", *(f"layer.{i}" for i in range(_layer_count(total_bytes)))]


def write(directory: pathlib.Path, total_bytes: int, seed=5) -> int:
    """Linears of 4096 x 4096 in FP16 and BF16, with a bias, two to a shard,
    and an FP16 matrix of 32,000 x 4096; returns the bytes of tensors."""
    rng = np.random.default_rng(seed)
    directory.mkdir(parents=True)
    (directory / "config.json").write_text('{"model_type": "linear_set"}\n')
    head = {
        "head.weight": (
            "F16",
            [HEAD_ROWS, WIDTH],
            _bits(rng, HEAD_ROWS * WIDTH, False),
        )
    }
    layers = _layer_count(total_bytes)
    shards = -(-layers // 2) + 1
    weight_map, written = {}, 0

    def shard(index, tensors):
        nonlocal written
        name = f"model-{index:05}-of-{shards:05}.safetensors"
        _write_shard(directory / name, tensors)
        weight_map.update(dict.fromkeys(tensors, name))
        written += sum(bits.nbytes for _, _, bits in tensors.values())

    shard(1, head)
    del head
    for index in range(2, shards + 1):
        tensors = {}
        for i in range(2 * (index - 2), min(layers, 2 * (index - 1))):
            dtype = "BF16" if i % 2 else "F16"
            bits = _bits(rng, WIDTH * WIDTH, dtype == "BF16")
            tensors[f"layer.{i}.weight"] = (dtype, [WIDTH, WIDTH], bits)
            tensors[f"layer.{i}.bias"] = (dtype, [WIDTH], bits[:WIDTH])
        shard(index, tensors)
    (directory / "model.safetensors.index.json").write_text(
        json.dumps(
            {"metadata": {"total_size": written}, "weight_map": weight_map}
        )
    )
    return written
