"""Forward of one of the rivals, on models that minilm_models.py made.
usage: forward_worker.py onnxruntime|openvino|ctranslate2 FOLDER THREADS

Variants `int8` and `fp32`; numbers: sequences, tokens in each.
"""

import pathlib
import sys

import numpy as np

from harness.worker import Job, serve

ENGINE, FOLDER, THREADS = (
    sys.argv[1],
    pathlib.Path(sys.argv[2]),
    int(sys.argv[3]),
)


def tokens(sequences, length):
    return np.random.default_rng(1).integers(0, 30522, (sequences, length))


def onnxruntime(variant):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(
        FOLDER / {"fp32": "float.onnx", "int8": "int8.onnx"}[variant],
        options,
        providers=["CPUExecutionProvider"],
    )

    def prepare(sequences, length):
        feed = {
            "ids": tokens(sequences, length),
            "positions": np.arange(length),
        }
        return lambda: session.run(None, feed)[0]

    return f"ONNX Runtime {onnxruntime.__version__}", prepare


def openvino(variant):
    import openvino

    options = {
        "INFERENCE_NUM_THREADS": THREADS,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    request = (
        openvino.Core()
        .compile_model(FOLDER / f"openvino_{variant}.xml", "CPU", options)
        .create_infer_request()
    )

    def prepare(sequences, length):
        feed = {
            "ids": tokens(sequences, length),
            "positions": np.arange(length),
            "mask": np.ones((sequences, length), np.float32),
        }

        def call():
            request.infer(feed, share_inputs=True, share_outputs=True)
            return request.get_output_tensor(0).data

        return call

    return f"OpenVINO {openvino.__version__.split('-')[0]}", prepare


def ctranslate2(variant):
    import ctranslate2

    encoder = ctranslate2.Encoder(
        str(FOLDER / f"ctranslate2_{variant}"),
        compute_type={"fp32": "float32", "int8": "int8"}[variant],
        intra_threads=THREADS,
        inter_threads=1,
    )

    def prepare(sequences, length):
        ids, lengths = (
            ctranslate2.StorageView.from_array(a.astype(np.int32))
            for a in (tokens(sequences, length), np.full(sequences, length))
        )

        def call():
            output = encoder.forward_batch(ids, lengths)
            return np.array(output.last_hidden_state)

        return call

    return f"CTranslate2 {ctranslate2.__version__}", prepare


def main():
    make = {
        "onnxruntime": onnxruntime,
        "openvino": openvino,
        "ctranslate2": ctranslate2,
    }[ENGINE]
    made = {variant: make(variant) for variant in ("int8", "fp32")}
    serve(
        made["int8"][0],
        {
            variant: lambda *numbers, prepare=prepare: Job([prepare(*numbers)])
            for variant, (_, prepare) in made.items()
        },
    )


if __name__ == "__main__":
    main()
