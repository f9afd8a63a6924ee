"""ONNX Runtime's linear layer with bias: FP32, and INT8 as its own
quantize_dynamic makes it (u8 activations with one scale per tensor, taken anew
in every call; s8 weights per channel).
Usage: python -m linear.onnxruntime_worker THREADS

`overhead` is a call that computes nothing: Python and the session alone.
"""

import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from harness.worker import Job, serve

THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 1


def model(nodes, constants, m, k, n):
    """Columns count: x [m, k] -> y [m, n]."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "linear",
        [info("x", TensorProto.FLOAT, [m, k])],
        [info("y", TensorProto.FLOAT, [m, n])],
        [numpy_helper.from_array(v, name) for name, v in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )


def linear(m, k, n):
    random = np.random.default_rng(2)
    weights = random.normal(size=(k, n)).astype(np.float32)
    return model(
        [
            helper.make_node("MatMul", ["x", "w"], ["xw"]),
            helper.make_node("Add", ["xw", "bias"], ["y"]),
        ],
        {"w": weights, "bias": np.full(n, 0.5, np.float32)},
        m,
        k,
        n,
    )


def quantized(float_model):
    with tempfile.TemporaryDirectory() as folder:
        source, target = (pathlib.Path(folder) / f for f in ("f", "q"))
        onnx.save(float_model, source)
        quantize_dynamic(
            source, target, per_channel=True, weight_type=QuantType.QInt8
        )
        return onnx.load(target)


def call(serialized, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        serialized, options, providers=["CPUExecutionProvider"]
    )
    # Bound once: what remains of Python is one call.
    binding = session.io_binding()
    binding.bind_ortvalue_input(
        "x", onnxruntime.OrtValue.ortvalue_from_numpy(x)
    )
    y = session.run(None, {"x": x})[0]
    binding.bind_ortvalue_output(
        "y", onnxruntime.OrtValue.ortvalue_from_numpy(y)
    )
    return lambda: session.run_with_iobinding(binding)


def prepare(m, k, n, copies, to_int8):
    x = np.random.default_rng(1).normal(size=(m, k)).astype(np.float32)
    made = linear(m, k, n)
    if to_int8:
        made = quantized(made)
    serialized = made.SerializeToString()
    return Job([call(serialized, x) for _ in range(copies)], 2.0 * m * k * n)


def nothing():
    made = model([helper.make_node("Neg", ["x"], ["y"])], {}, 1, 16, 16)
    x = np.zeros((1, 16), np.float32)
    return Job([call(made.SerializeToString(), x)])


serve(
    f"ONNX Runtime {onnxruntime.__version__}",
    {
        "int8": lambda *shape: prepare(*shape, True),
        "fp32": lambda *shape: prepare(*shape, False),
        "overhead": lambda *_: nothing(),
    },
)
