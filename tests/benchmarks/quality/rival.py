"""Sentence embeddings by another engine, on models that minilm_models.py made.
usage: rival.py onnxruntime|openvino|ctranslate2 fp32|int8 FOLDER OUT.npy

Reads token ids from FOLDER/texts.json. Each text runs alone, since the
activations of a batch share a scale in some of these engines. Embeddings are
means over tokens, of unit length.
"""

import json
import pathlib
import sys

import numpy as np


def onnxruntime(variant, folder):
    import onnxruntime

    session = onnxruntime.InferenceSession(
        folder / {"fp32": "float.onnx", "int8": "int8.onnx"}[variant],
        providers=["CPUExecutionProvider"],
    )
    return lambda ids: session.run(
        None, {"ids": ids, "positions": np.arange(ids.shape[1])}
    )[0]


def openvino(variant, folder):
    import openvino

    model = openvino.Core().compile_model(
        folder / f"openvino_{variant}.xml",
        "CPU",
        {"INFERENCE_PRECISION_HINT": "f32"},
    )
    request = model.create_infer_request()

    def run(ids):
        request.infer(
            {
                "ids": ids,
                "positions": np.arange(ids.shape[1]),
                "mask": np.ones(ids.shape, np.float32),
            }
        )
        return request.get_output_tensor(0).data

    return run


def ctranslate2(variant, folder):
    import ctranslate2

    encoder = ctranslate2.Encoder(
        str(folder / f"ctranslate2_{variant}"),
        compute_type={"fp32": "float32", "int8": "int8"}[variant],
    )

    def run(ids):
        tokens, lengths = (
            ctranslate2.StorageView.from_array(np.asarray(a, np.int32))
            for a in (ids, [ids.shape[1]])
        )
        return np.array(
            encoder.forward_batch(tokens, lengths).last_hidden_state
        )

    return run


ENGINES = {
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "ctranslate2": ctranslate2,
}


def main():
    engine, variant, folder, out = sys.argv[1:]
    folder = pathlib.Path(folder)
    run = ENGINES[engine](variant, folder)
    texts = json.loads((folder / "texts.json").read_text())
    means = [run(np.array([ids], np.int64))[0].mean(0) for ids in texts]
    embeddings = np.array(means, np.float64)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    np.save(out, embeddings)


if __name__ == "__main__":
    main()
