"""OpenVINO's linear layer with bias: FP32, and INT8 as NNCF leaves it (static
u8 activations with a zero point, s8 weights per channel).
Usage: python -m linear.openvino_worker THREADS

`overhead` is a call that computes nothing: Python and the request alone.
"""

import sys

import numpy as np
import openvino
from openvino import opset13 as op

from harness.worker import Job, serve

THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 1
CORE = openvino.Core()
OPTIONS = {
    "INFERENCE_NUM_THREADS": THREADS,
    "NUM_STREAMS": 1,
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_PRECISION_HINT": "f32",
    "ENABLE_CPU_PINNING": False,
}


def linear(m, k, n, to_int8):
    x = op.parameter([m, k], np.float32)
    random = np.random.default_rng(2)
    if to_int8:
        codes = random.integers(-127, 128, size=(n, k), dtype=np.int8)
        weights = op.multiply(
            op.convert(op.constant(codes), np.float32),
            op.constant(np.full((n, 1), 0.01, np.float32)),
        )
        low, high = (op.constant(np.float32(v)) for v in (-4.0, 3.96875))
        source = op.fake_quantize(x, low, high, low, high, 256)
    else:
        weights = op.constant(random.normal(size=(n, k)).astype(np.float32))
        source = x
    bias = op.constant(np.full((1, n), 0.5, np.float32))
    y = op.add(op.matmul(source, weights, False, True), bias)
    return openvino.Model([y], [x])


def call(compiled, x):
    request = compiled.create_infer_request()
    tensor = openvino.Tensor(x, shared_memory=True)
    request.set_input_tensor(tensor)
    # The binding itself, below the friendly class around it.
    infer = super(openvino.InferRequest, request).infer

    def run(keep=(x, tensor)):  # the request does not own them
        infer({}, share_outputs=True, decode_strings=False)

    return run


def kernel(compiled) -> str:
    """How the matrix is multiplied, by OpenVINO's own account."""
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if "FullyConnected" in str(info["layerType"].value):
            return f"{info['primitiveType'].value}"
    return "?"


def prepare(m, k, n, copies, to_int8):
    x = np.random.default_rng(1).normal(size=(m, k)).astype(np.float32)
    calls, name = [], ""
    for _ in range(copies):
        compiled = CORE.compile_model(linear(m, k, n, to_int8), "CPU", OPTIONS)
        name = kernel(compiled)
        calls.append(call(compiled, x))
    return Job(calls, 2.0 * m * k * n, name)


def nothing():
    x = op.parameter([1, 16], np.float32)
    compiled = CORE.compile_model(
        openvino.Model([op.relu(x)], [x]), "CPU", OPTIONS
    )
    return Job([call(compiled, np.zeros((1, 16), np.float32))])


serve(
    f"OpenVINO {openvino.__version__.split('-')[0]}",
    {
        "int8": lambda *shape: prepare(*shape, True),
        "fp32": lambda *shape: prepare(*shape, False),
        "overhead": lambda *_: nothing(),
    },
)
