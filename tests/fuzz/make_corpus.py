#!/usr/bin/env python3
"""Writes the seed corpora: corpus/<target>/<seed>. Standard library only."""

import io
import json
import pathlib
import struct
import tarfile

CORPUS = pathlib.Path(__file__).parent / "corpus"


def save(target, name, data):
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def make_safetensors():
    good = {
        "__metadata__": {"format": "pt"},
        "fc.weight": tensor("I8", [2, 2], 0, 4),
        "fc.weight_scale": tensor("F32", [2, 1], 4, 12),
        "fc.bias": tensor("BF16", [2], 12, 16),
    }
    save("safetensors", "good", safetensors(good, bytes(16)))
    save("safetensors", "empty", safetensors({}))
    save(
        "safetensors",
        "half",
        safetensors(
            {"a": tensor("F16", [3], 0, 6), "z": tensor("I32", [0], 6, 6)},
            b"\0\x3c\0\x7c\0\x7e",
        ),
    )
    save(
        "safetensors",
        "hole",
        safetensors({"a": tensor("U8", [1], 1, 2)}, bytes(2)),
    )
    save(
        "safetensors",
        "overlap",
        safetensors(
            {"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [1], 1, 2)},
            bytes(2),
        ),
    )
    save(
        "safetensors",
        "overflow",
        safetensors({"a": tensor("F64", [2**32, 2**32], 0, 8)}, bytes(8)),
    )
    save("safetensors", "twice", safetensors(b'{"a":{},"a":{}}'))
    save("safetensors", "length", struct.pack("<Q", 2**63) + b"{}")


def make_config():
    bert = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": 4,
        "intermediate_size": 8,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "vocab_size": 6,
        "type_vocab_size": 2,
        "max_position_embeddings": 5,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "pad_token_id": 0,
    }
    pooling = {
        "word_embedding_dimension": 4,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    mlp = {
        "model_type": "mlp",
        "layers": ["fc1", "fc2"],
        "hidden_act": "relu",
        "input_size": 4,
    }

    def text(value):
        return json.dumps(value).encode()

    save("config", "bert", text(bert))
    save("config", "bert_pooled", text(bert) + b"\0" + text(pooling))
    save("config", "bert_relu", text({**bert, "hidden_act": "relu"}))
    save("config", "bert_wrong", text({**bert, "hidden_size": -4}))
    save("config", "bert_deep", text({**bert, "num_hidden_layers": 10**9}))
    save("config", "mlp", text(mlp))
    save("config", "linear_set", text({"model_type": "linear_set"}))
    save("config", "nested", b'{"model_type":' + b"[" * 64)


def make_manifest():
    measures = {"sqnr_db": 41.5, "cosine": 0.9999, "max_error": 0.01}
    values = {
        "channels": 2,
        "min": -1.5,
        "max": 2.0,
        "sigma": 0.5,
        "clip_min": -2.0,
        "clip_max": 2.0,
        "clipped_share": 0.0,
        "histogram": {"min": -1.5, "max": 2.0, "counts": [1, 2, 1]},
        "channel_absmax": dict.fromkeys(
            ("min", "p25", "median", "p75", "p99", "max"), 1.0
        ),
        "largest_channels": [{"channel": 1, "absmax": 2.0}],
    }
    layer = {
        "layer": "fc",
        "scheme": "w8a8_dynamic",
        "out_features": 2,
        "in_features": 2,
        "float_bytes": 16,
        "stored_bytes": 12,
        "weight_error": measures,
        "output_error": {**measures, "sqnr_db": "Infinity"},
        "output_rows": 3,
        "zero_channels": 0,
        "outlier_columns": 0,
        "outlier_threshold": 0.0,
        "outlier_value_share": 0.0,
        "smoothing_alpha": -1.0,
        "smoothing_folded_into": "",
        "hadamard_block": 0,
        "group_size": 0,
        "rounding": "nearest",
        "bias_correction": False,
        "reason": "",
        "shares_input_with": "",
        "weights": values,
        "activations": values,
        "calibrators": [
            {
                "calibrator": "mse",
                "min": -1.0,
                "max": 1.0,
                "chosen": True,
            }
        ],
        "candidates": [
            {
                "name": "w8a8_dynamic",
                "scheme": "w8a8_dynamic",
                "output_error": measures,
                "stored_bytes": 12,
                "microseconds": 1.5,
                "chosen": True,
            }
        ],
    }
    manifest = {
        "format_version": 2,
        "family": "linear_set",
        "plan": {
            "fc": {
                "scheme": "llm_int8",
                "outlier_threshold": 6.0,
                "group_size": 32,
                "hadamard_block": 64,
                "smoothed": True,
            }
        },
        "statistics": {
            "fc": {
                "rows": 3,
                "min": -1.5,
                "max": 2.0,
                "absmax": 2.0,
                "sigma": 0.5,
            }
        },
        "report": {
            "layers": [layer],
            "model_error": measures,
            "mean_row_cosine": 1.0,
            "worst_row_cosine": "NaN",
            "model_rows": 3,
            "tuned_rows": 0,
            "linear_float_bytes": 16,
            "linear_stored_bytes": 12,
            "checkpoint_bytes": 16,
            "bundle_bytes": 12,
            "calibration_samples": 3,
            "policy": "auto",
            "budgets": [
                {
                    "measure": "max_bytes",
                    "limit": 20.0,
                    "reached": 12.0,
                    "held": True,
                }
            ],
            "verified_plans": 1,
            "frontier": [
                {
                    "name": "auto",
                    "stored_bytes": 12,
                    "relative_error": 0.01,
                    "mean_row_cosine": 1.0,
                    "microseconds": 1.5,
                    "measured": True,
                    "chosen": True,
                }
            ],
            "speed_rows": 128,
            "speed_kernel": "scalar",
            "warnings": ["few"],
        },
        "provenance": {
            "checkpoint": "checkpoints/a",
            "calibration": "",
            "octet_version": "0.1.0",
            "create_time": "2026-01-01T00:00:00Z",
        },
        "compressed_tensors": "llm_int8",
        "files": {"config.json": {"size_bytes": 2, "sha256": "a" * 64}},
    }
    save("manifest", "good", json.dumps(manifest).encode())
    save(
        "manifest",
        "bare",
        json.dumps(
            {
                **manifest,
                "plan": {},
                "statistics": {},
                "files": {},
                "report": {**manifest["report"], "layers": [], "warnings": []},
            }
        ).encode(),
    )
    save("manifest", "version", b'{"format_version":1}')
    save(
        "manifest",
        "escape",
        json.dumps(
            {
                **manifest,
                "files": {"../x": {"size_bytes": 2, "sha256": "a" * 64}},
            }
        ).encode(),
    )


def tar(members, form=tarfile.PAX_FORMAT):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, data, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(data)
            archive.addfile(info, io.BytesIO(data))
    # tarfile pads to 10 KiB; the two zero blocks are enough.
    return (
        stream.getvalue()
        .rstrip(b"\0")
        .ljust(
            512 * (2 + sum(1 + -(-len(m[1]) // 512) for m in members)), b"\0"
        )
    )


def make_archive():
    regular = tarfile.REGTYPE
    good = [
        ("config.json", b"{}", regular, ""),
        ("1_Pooling/config.json", b"[]", regular, ""),
    ]
    save("archive", "good", tar(good))
    save("archive", "gnu", tar(good, tarfile.GNU_FORMAT))
    save("archive", "ustar", tar(good, tarfile.USTAR_FORMAT))
    save("archive", "escape", tar([("../x", b"1", regular, "")]))
    save("archive", "symlink", tar([("x", b"", tarfile.SYMTYPE, "/etc")]))
    save("archive", "hardlink", tar([("x", b"", tarfile.LNKTYPE, "y")]))
    save(
        "archive",
        "directory",
        tar([("d/", b"", tarfile.DIRTYPE, ""), ("d/x", b"1", regular, "")]),
    )
    save("archive", "twice", tar([("x", b"1", regular, "")] * 2))
    save("archive", "truncated", tar(good)[:-1024])


def calibration(samples, **changed):
    """One input of two columns, three rows and two bins."""
    tensors = {
        "0/numbers": ("I64", [6], "<6q", [3, 1, 0, 4, 0, -1]),
        "0/range": ("F32", [2], "<2f", [-1, 0.75]),
        "0/batch_sums": ("F64", [2], "<2d", [-1, 0.75]),
        "0/columns": ("F32", [2, 2], "<4f", [-1, 0, 0.5, 0.75]),
        "0/column_sums": ("F64", [2, 2], "<4d", [-0.5, 1, 1.5, 1.5]),
        "0/histogram": ("I64", [2], "<2q", [2, 4]),
        "0/row_keys": ("I64", [2], "<2q", [5, 9]),
        "0/row_values": ("F32", [2, 2], "<4f", [-1, 0, 0.5, 0.75]),
        "sketch/keys": ("I64", [1], "<q", [3]),
        "sketch/signatures": ("I32", [1, 32], "<32i", range(32)),
        "sketch/near": ("I32", [1], "<i", [0]),
    }
    header = {
        "__metadata__": {
            "format": "octet-calibration-2",
            "checkpoint": "c",
            "fingerprint": "",
            "seed": "0",
            "kept_rows": "4",
            "kept_samples": "2",
            "batches": "1",
            "samples": "3",
            "layers": '[["q", "k"]]',
        }
    }
    data = b""
    for name, (dtype, shape, form, values) in (
        tensors | samples | changed
    ).items():
        packed = struct.pack(form, *values)
        header[name] = tensor(dtype, shape, len(data), len(data) + len(packed))
        data += packed
    return safetensors(header, data)


def make_calibration():
    keys = {"kept/keys": ("I64", [1], "<q", [7])}
    tokens = keys | {
        "kept/token_ids": ("I32", [3], "<3i", [1, 2, 3]),
        "kept/lengths": ("I32", [1], "<i", [3]),
    }
    features = keys | {"kept/features": ("F32", [1, 2], "<2f", [0.5, 0.75])}
    save("calibration", "tokens", calibration(tokens))
    save("calibration", "features", calibration(features))
    wide = {"0/numbers": ("I64", [6], "<6q", [3, 1, 0, 4, 117, -1])}
    save("calibration", "wide", calibration(tokens, **wide))


def field(number, value):
    """A field of an int, or of bytes no longer than 127."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def make_wire():
    """The message, how it is cut, and its bytes."""
    x = field(1, 1) + field(2, b"\1\2") + field(3, b"abcdefgh")
    matmul = field(1, b"models/m") + field(2, b"fc") + field(3, x) + field(4, 2)
    group = b"\x2b" + field(3, x) + b"\x2c"
    tokens = field(1, field(1, b"\1\2\3") + field(2, b"\3"))
    raw = field(7, b"abcd") + field(7, b"") + field(7, b"efgh")
    name = field(1, b"x") + field(2, b"FP32") + field(3, b"\1\2")
    for at, (title, message) in enumerate(
        {
            "matmul": matmul,
            "stream": field(1, b"id") + field(2, matmul),
            "forward": field(1, b"m") + field(2, field(2, x)) + field(4, 1),
            "infer": field(1, b"m") + field(5, name) + raw,
        }.items()
    ):
        save("wire", title, bytes([at, 3]) + message)
    twice = matmul + group + field(3, field(2, 3) + field(3, b"last"))
    save("wire", "merged", b"\0\1" + twice)
    inputs = field(2, field(2, x)) + field(2, tokens) + field(2, field(2, b""))
    save("wire", "oneof", b"\2\5" + inputs)


if __name__ == "__main__":
    make_safetensors()
    make_config()
    make_manifest()
    make_archive()
    make_calibration()
    make_wire()
