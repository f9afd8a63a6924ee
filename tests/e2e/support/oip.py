"""The Open Inference Protocol, as tritonclient speaks it."""

import contextlib

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException, np_to_triton_dtype


def tensor(name, values) -> triton.InferInput:
    """In raw contents, as every tritonclient sends them."""
    values = np.ascontiguousarray(values)
    datatype = np_to_triton_dtype(values.dtype)
    message = triton.InferInput(name, list(values.shape), datatype)
    message.set_data_from_numpy(values)
    return message


def infer_request(model, **inputs) -> service_pb2.ModelInferRequest:
    """The message itself, with values by name of their input."""
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, values in inputs.items():
        request.inputs.add(
            name=name,
            datatype=np_to_triton_dtype(values.dtype),
            shape=values.shape,
        )
        request.raw_input_contents.append(values.tobytes())
    return request


def padded(sequences, width=None, dtype=np.int64):
    """Ids and mask of a batch, with ids under the padding that would be
    refused if anybody read them."""
    width = width or max(map(len, sequences))
    ids = np.full((len(sequences), width), -7, dtype)
    mask = np.zeros((len(sequences), width), dtype)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = sequence
        mask[i, : len(sequence)] = 1
    return ids, mask


def tokens(sequences, width=None, dtype=np.int64):
    ids, mask = padded(sequences, width, dtype)
    return [tensor("input_ids", ids), tensor("attention_mask", mask)]


def wanted(*names):
    return [triton.InferRequestedOutput(name) for name in names]


def pad_rows(rows, sequences, width):
    """Rows of the tokens, as last_hidden_state has them."""
    out = np.zeros((len(sequences), width, rows.shape[1]), np.float32)
    start = 0
    for i, sequence in enumerate(sequences):
        out[i, : len(sequence)] = rows[start : start + len(sequence)]
        start += len(sequence)
    return out


@contextlib.contextmanager
def fails(code: grpc.StatusCode, *texts: str):
    with pytest.raises(InferenceServerException) as caught:
        yield
    assert caught.value.status() == str(code), caught.value
    for text in texts:
        assert text in caught.value.message(), caught.value.message()
