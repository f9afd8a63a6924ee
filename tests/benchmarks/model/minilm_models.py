"""A BERT checkpoint in the forms other engines run, made once into a folder:

    float.onnx, int8.onnx        ONNX Runtime, with its fused operators
    openvino_{fp32,int8}.xml     OpenVINO; INT8 by NNCF
    ctranslate2_{fp32,int8}/     CTranslate2

Written from the checkpoint's own tensors: the usual way leads over torch.
usage: minilm_models.py CHECKPOINT FOLDER [CALIBRATION.json]

The file holds lists of token ids. Without it NNCF sees random ones, which is
good enough where only the speed is looked at.
"""

import json
import pathlib
import sys
import tempfile

import nncf
import numpy as np
import onnx
import openvino
import safetensors.numpy
from ctranslate2.specs import common_spec, transformer_spec
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from openvino.passes import ConstantFolding, Manager

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from support.reference import bert_graph  # noqa: E402

RANDOM_SAMPLES = 16


def main() -> None:
    checkpoint, folder, *calibration = map(pathlib.Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((checkpoint / "config.json").read_text())
    tensors = safetensors.numpy.load_file(checkpoint / "model.safetensors")
    for_onnx_runtime(tensors, config, folder)
    if calibration:
        sequences = json.loads(calibration[0].read_text())
    else:
        random = np.random.default_rng(1)
        shape = (RANDOM_SAMPLES, 64)
        sequences = random.integers(0, config["vocab_size"], shape)
    for_openvino(tensors, config, folder, sequences)
    for_ctranslate2(tensors, config, folder)


class Fused:
    """The encoder in the operators that ONNX Runtime's optimizer makes of it:
    Attention with one matrix for q, k and v, SkipLayerNormalization, BiasGelu.
    """

    def __init__(self, tensors, config):
        self.tensors, self.config = tensors, config
        self.nodes, self.constants = [], {}

    def add(self, op, *inputs, domain="com.microsoft", **attributes):
        output = f"v{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, inputs, [output], domain=domain, **attributes)
        )
        return output

    def weight(self, name, value=None):
        self.constants[name] = self.tensors[name] if value is None else value
        return name

    def project(self, name, x):
        transposed = self.tensors[f"{name}.weight"].T.copy()
        weight = self.weight(f"{name}.weight", transposed)
        return self.add("MatMul", x, weight, domain="")

    def norm(self, name, x, skip, bias):
        return self.add(
            "SkipLayerNormalization",
            x,
            skip,
            self.weight(f"{name}.weight"),
            self.weight(f"{name}.bias"),
            self.weight(bias),
            epsilon=self.config["layer_norm_eps"],
        )

    def attention(self, layer, x):
        parts = [f"{layer}.self.{part}" for part in ("query", "key", "value")]
        return self.add(
            "Attention",
            x,
            self.weight(
                f"{layer}.qkv.weight",
                np.concatenate(
                    [self.tensors[f"{p}.weight"].T for p in parts], axis=1
                ),
            ),
            self.weight(
                f"{layer}.qkv.bias",
                np.concatenate([self.tensors[f"{p}.bias"] for p in parts]),
            ),
            num_heads=self.config["num_attention_heads"],
        )

    def layer(self, name, x):
        out = f"{name}.attention.output"
        a = self.project(f"{out}.dense", self.attention(f"{name}.attention", x))
        a = self.norm(f"{out}.LayerNorm", a, x, f"{out}.dense.bias")
        inner = f"{name}.intermediate.dense"
        f = self.add(
            "BiasGelu", self.project(inner, a), self.weight(f"{inner}.bias")
        )
        f = self.project(f"{name}.output.dense", f)
        return self.norm(
            f"{name}.output.LayerNorm", f, a, f"{name}.output.dense.bias"
        )

    def embedding(self):
        kinds = self.tensors["embeddings.token_type_embeddings.weight"][0]
        places = self.tensors["embeddings.position_embeddings.weight"] + kinds
        words = self.weight("embeddings.word_embeddings.weight")
        x = self.add(
            "Add",
            self.add("Gather", words, "ids", domain=""),
            self.add(
                "Gather", self.weight("places", places), "positions", domain=""
            ),
            domain="",
        )
        name = "embeddings.LayerNorm"
        return self.add(
            "LayerNormalization",
            x,
            self.weight(f"{name}.weight"),
            self.weight(f"{name}.bias"),
            domain="",
            epsilon=self.config["layer_norm_eps"],
        )

    def model(self):
        x = self.embedding()
        for i in range(self.config["num_hidden_layers"]):
            x = self.layer(f"encoder.layer.{i}", x)
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "bert",
            [
                info("ids", TensorProto.INT64, ["batch", "tokens"]),
                info("positions", TensorProto.INT64, ["tokens"]),
            ],
            [info(x, TensorProto.FLOAT, ["batch", "tokens", "width"])],
            [numpy_helper.from_array(v, n) for n, v in self.constants.items()],
        )
        domains = [
            helper.make_opsetid("", 17),
            helper.make_opsetid("com.microsoft", 1),
        ]
        return helper.make_model(graph, opset_imports=domains, ir_version=9)


def for_onnx_runtime(tensors, config, folder):
    onnx.save(Fused(tensors, config).model(), folder / "float.onnx")
    quantize_dynamic(
        folder / "float.onnx",
        folder / "int8.onnx",
        op_types_to_quantize=["MatMul", "Attention"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )


def for_openvino(tensors, config, folder, sequences):
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "plain.onnx"
        onnx.save(bert_graph(tensors, config), path)
        model = openvino.Core().read_model(path)
        # Weights are stored as [N, K] and transposed by the graph: done now,
        # or the transposition would stand between the INT8 weights and their
        # multiplication.
        folding = Manager()
        folding.register_pass(ConstantFolding())
        folding.run_passes(model)
        samples = [
            {
                "ids": np.array([ids]),
                "positions": np.arange(len(ids)),
                "mask": np.ones((1, len(ids)), np.float32),
            }
            for ids in sequences
        ]
        quantized = nncf.quantize(
            model,
            nncf.Dataset(samples),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(samples),
        )
        for name, made in (("fp32", model), ("int8", quantized)):
            openvino.save_model(
                made, folder / f"openvino_{name}.xml", compress_to_fp16=False
            )


def for_ctranslate2(tensors, config, folder):
    def linear(spec, *names):
        parts = [
            [tensors[f"{n}.{p}"] for n in names] for p in ("weight", "bias")
        ]
        spec.weight, spec.bias = map(np.concatenate, parts)

    def norm(spec, name):
        spec.gamma, spec.beta = (
            tensors[f"{name}.weight"],
            tensors[f"{name}.bias"],
        )

    def spec():
        encoder = transformer_spec.TransformerEncoderSpec(
            config["num_hidden_layers"],
            config["num_attention_heads"],
            pre_norm=False,
            activation=common_spec.Activation.GELU,
            layernorm_embedding=True,
            num_source_embeddings=2,
            embeddings_merge=common_spec.EmbeddingsMerge.ADD,
        )
        encoder.scale_embeddings = False
        kinds = ("word_embeddings", "token_type_embeddings")
        for part, kind in zip(encoder.embeddings, kinds):
            part.weight = tensors[f"embeddings.{kind}.weight"]
        encoder.position_encodings.encodings = tensors[
            "embeddings.position_embeddings.weight"
        ]
        norm(encoder.layernorm_embedding, "embeddings.LayerNorm")
        for i, layer in enumerate(encoder.layer):
            name = f"encoder.layer.{i}"
            own = f"{name}.attention.self"
            linear(
                layer.self_attention.linear[0],
                f"{own}.query",
                f"{own}.key",
                f"{own}.value",
            )
            out = f"{name}.attention.output"
            linear(layer.self_attention.linear[1], f"{out}.dense")
            norm(layer.self_attention.layer_norm, f"{out}.LayerNorm")
            linear(layer.ffn.linear_0, f"{name}.intermediate.dense")
            linear(layer.ffn.linear_1, f"{name}.output.dense")
            norm(layer.ffn.layer_norm, f"{name}.output.LayerNorm")
        model = transformer_spec.TransformerEncoderModelSpec(encoder)
        model.register_vocabulary([f"{i}" for i in range(config["vocab_size"])])
        model.config.layer_norm_epsilon = config["layer_norm_eps"]
        return model

    for name, quantization in (("fp32", "float32"), ("int8", "int8")):
        made = spec()
        made.validate()
        made.optimize(quantization=quantization)
        target = folder / f"ctranslate2_{name}"
        target.mkdir(exist_ok=True)
        made.save(str(target))


if __name__ == "__main__":
    main()
