"""The FP32 reference: ONNX Runtime.

The usual way to it, exporting from transformers, needs torch, and torch from
PyPI brings gigabytes of CUDA libraries. So the BERT encoder is written down
here as an ONNX graph over the checkpoint's own tensors: some forty lines from
the paper's formulas, sharing no code with Octet, with every operator computed
by ONNX Runtime. (Compared once with transformers 5.23 on torch 2.15: hidden
states the same to 6e-6, embeddings to 2e-7.)
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
import safetensors.numpy
from onnx import TensorProto, helper, numpy_helper


class _Graph:
    def __init__(self, tensors):
        self.tensors = tensors
        self.nodes = []
        self.constants = {}

    def add(self, op, *inputs, **attributes) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, list(inputs), [output], **attributes)
        )
        return output

    def weight(self, name) -> str:
        self.constants[name] = self.tensors[name]
        return name

    def constant(self, value) -> str:
        value = np.asarray(value)
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def linear(self, name, x) -> str:
        w = self.add("Transpose", self.weight(f"{name}.weight"), perm=[1, 0])
        return self.add(
            "Add", self.add("MatMul", x, w), self.weight(f"{name}.bias")
        )

    def norm(self, name, x, epsilon) -> str:
        return self.add(
            "LayerNormalization",
            x,
            self.weight(f"{name}.weight"),
            self.weight(f"{name}.bias"),
            axis=-1,
            epsilon=epsilon,
        )


def _attention(graph, layer, x, bias, heads, head_width):
    def split(part):
        y = graph.linear(f"{layer}.attention.self.{part}", x)
        shape = graph.constant(np.array([0, 0, heads, head_width], np.int64))
        return graph.add(
            "Transpose", graph.add("Reshape", y, shape), perm=[0, 2, 1, 3]
        )

    query, key, value = split("query"), split("key"), split("value")
    scores = graph.add(
        "MatMul", query, graph.add("Transpose", key, perm=[0, 1, 3, 2])
    )
    scale = graph.constant(np.float32(head_width**-0.5))
    scores = graph.add("Add", graph.add("Mul", scores, scale), bias)
    context = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
    merged = graph.add("Transpose", context, perm=[0, 2, 1, 3])
    shape = graph.constant(np.array([0, 0, heads * head_width], np.int64))
    return graph.add("Reshape", merged, shape)


def _encoder_layer(graph, config, i, x, bias):
    layer = f"encoder.layer.{i}"
    heads = config["num_attention_heads"]
    width = config["hidden_size"] // heads
    epsilon = config["layer_norm_eps"]
    a = _attention(graph, layer, x, bias, heads, width)
    a = graph.linear(f"{layer}.attention.output.dense", a)
    a = graph.norm(
        f"{layer}.attention.output.LayerNorm", graph.add("Add", a, x), epsilon
    )
    f = graph.linear(f"{layer}.intermediate.dense", a)
    f = graph.linear(f"{layer}.output.dense", graph.add("Gelu", f))
    return graph.norm(
        f"{layer}.output.LayerNorm", graph.add("Add", f, a), epsilon
    )


def _embedding(graph, config):
    words = graph.add(
        "Gather", graph.weight("embeddings.word_embeddings.weight"), "ids"
    )
    places = graph.add(
        "Gather",
        graph.weight("embeddings.position_embeddings.weight"),
        "positions",
    )
    kinds = graph.add(
        "Gather",
        graph.weight("embeddings.token_type_embeddings.weight"),
        graph.constant(np.int64(0)),
    )
    x = graph.add("Add", graph.add("Add", words, places), kinds)
    return graph.norm("embeddings.LayerNorm", x, config["layer_norm_eps"])


def _mean_pool_and_normalize(graph, x):
    axis = graph.constant(np.array([2], np.int64))
    mask = graph.add("Unsqueeze", "mask", axis)
    tokens = graph.constant(np.array([1], np.int64))
    total = graph.add(
        "ReduceSum", graph.add("Mul", x, mask), tokens, keepdims=0
    )
    count = graph.add("ReduceSum", mask, tokens, keepdims=0)
    return graph.add(
        "LpNormalization", graph.add("Div", total, count), axis=-1, p=2
    )


def bert_graph(tensors, config):
    """The model: ids, positions, mask -> hidden states, embeddings."""
    graph = _Graph(tensors)
    # 0 where there is a token, -1e30 where there is padding.
    axes = graph.constant(np.array([1, 2], np.int64))
    absent = graph.add("Sub", "mask", graph.constant(np.float32(1)))
    bias = graph.add(
        "Unsqueeze",
        graph.add("Mul", absent, graph.constant(np.float32(1e30))),
        axes,
    )
    x = _embedding(graph, config)
    for i in range(config["num_hidden_layers"]):
        x = _encoder_layer(graph, config, i, x, bias)
    pooled = _mean_pool_and_normalize(graph, x)
    info = helper.make_tensor_value_info
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "bert",
            [
                info("ids", TensorProto.INT64, ["batch", "tokens"]),
                info("positions", TensorProto.INT64, ["tokens"]),
                info("mask", TensorProto.FLOAT, ["batch", "tokens"]),
            ],
            [
                info(x, TensorProto.FLOAT, ["batch", "tokens", "width"]),
                info(pooled, TensorProto.FLOAT, ["batch", "width"]),
            ],
            [
                numpy_helper.from_array(value, name)
                for name, value in graph.constants.items()
            ],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=9,
    )


class BertReference:
    def __init__(self, directory: pathlib.Path, threads: int = 2):
        config = json.loads((directory / "config.json").read_text())
        tensors = safetensors.numpy.load_file(directory / "model.safetensors")
        model = bert_graph(tensors, config)
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
        )

    def run(self, sequences):
        """-> hidden states, one row per token; embeddings, one per sequence.

        Sequences of one length go together, so that there is no padding.
        """
        hidden = [None] * len(sequences)
        embeddings = [None] * len(sequences)
        by_length = {}
        for i, sequence in enumerate(sequences):
            by_length.setdefault(len(sequence), []).append(i)
        for length, members in by_length.items():
            ids = np.array([sequences[i] for i in members], np.int64)
            states, pooled = self._session.run(
                None,
                {
                    "ids": ids,
                    "positions": np.arange(length, dtype=np.int64),
                    "mask": np.ones(ids.shape, np.float32),
                },
            )
            for row, i in enumerate(members):
                hidden[i], embeddings[i] = states[row], pooled[row]
        return np.concatenate(hidden), np.stack(embeddings)
