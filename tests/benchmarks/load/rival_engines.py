"""MiniLM as other engines run it, for rival_server.py: each with the batching
that was fastest on two cores.

An engine makes workers; a worker turns lists of token ids into embeddings of
unit length, the means over their tokens.
"""

import numpy as np

TOKENS = 128  # the longest sequence
STEP = 8  # OpenVINO: lengths are padded to multiples, one model for each


class OnnxRuntime:
    """One sequence at a time: its dynamic quantization shares one scale over
    the batch, and padding costs more than batching gives."""

    most, waste = 1, 0.0

    def __init__(self, folder, workers):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # With one thread a session runs in its caller: all share it.
        session = onnxruntime.InferenceSession(
            folder / "int8.onnx", options, providers=["CPUExecutionProvider"]
        )
        self.workers = [session] * workers

    def run(self, session, sequences):
        (ids,) = sequences
        inputs = {"ids": ids[None], "positions": np.arange(len(ids))}
        return unit(session.run(None, inputs)[0].sum(1))


class OpenVino:
    """A model of fixed shape for each batch size and length: three times as
    fast as one of variable shape."""

    most, waste = 4, 0.1

    def __init__(self, folder, workers):
        import openvino

        self.core = openvino.Core()
        options = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": workers,
            "INFERENCE_NUM_THREADS": workers,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        path = folder / "openvino_int8.xml"
        models = {}
        for rows in range(1, self.most + 1):
            for tokens in range(STEP, TOKENS + 1, STEP):
                model = self.core.read_model(path)
                shape = [rows, tokens]
                model.reshape(
                    {"ids": shape, "positions": [tokens], "mask": shape}
                )
                models[rows, tokens] = self.core.compile_model(
                    model, "CPU", options
                )
        self.workers = [
            {key: model.create_infer_request() for key, model in models.items()}
            for _ in range(workers)
        ]

    def run(self, requests, sequences):
        longest = max(map(len, sequences))
        tokens = -(-longest // STEP) * STEP
        ids = np.zeros((len(sequences), tokens), np.int64)
        mask = np.zeros((len(sequences), tokens), np.float32)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        request = requests[len(sequences), tokens]
        inputs = {"ids": ids, "positions": np.arange(tokens), "mask": mask}
        request.infer(inputs, share_inputs=True, share_outputs=True)
        hidden = request.get_output_tensor(0).data
        return unit(np.matmul(mask[:, None], hidden)[:, 0])


def unit(rows):
    """The 1/n of a mean falls out of the norm."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


ENGINES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}
