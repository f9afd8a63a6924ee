"""NumPy arrays and ragged token lists to messages, and back."""

from __future__ import annotations

from typing import Any, Sequence, Union

import numpy as np

from octet_client._protocol import enums, messages

# One sequence of ids per item.
Tokens = Sequence[Union[Sequence[int], np.ndarray]]

_TYPES = {
    np.dtype("<f4"): enums.DATA_TYPE_F32,
    np.dtype("<f2"): enums.DATA_TYPE_F16,
}
_DTYPES = {number: dtype for dtype, number in _TYPES.items()}


def to_tensor(array: np.ndarray) -> Any:
    """A matrix as a Tensor: FP16 stays FP16, everything else becomes FP32."""
    array = np.asarray(array)
    if array.ndim != 2:
        raise ValueError(
            f"expected a matrix [rows, columns], got {array.shape}"
        )
    dtype = np.dtype("<f2" if array.dtype == np.float16 else "<f4")
    return messages.Tensor(
        type=_TYPES[dtype],
        shape=array.shape,
        data=np.ascontiguousarray(array, dtype).tobytes(),
    )


def to_array(tensor: Any) -> np.ndarray:
    dtype = _DTYPES.get(tensor.type)
    if dtype is None:
        raise ValueError(f"the answer has the data type {tensor.type}")
    return np.frombuffer(tensor.data, dtype).reshape(tuple(tensor.shape)).copy()


def _sequence(index: int, ids: Any) -> np.ndarray:
    found = np.asarray(ids)
    if found.ndim != 1 or (found.size > 0 and found.dtype.kind not in "iu"):
        raise ValueError(
            f"token_ids[{index}] must be a sequence of integers; "
            "token_ids holds one such sequence per text"
        )
    return found.astype(np.int64)


def to_inputs(
    tokens: Tokens | None = None, features: np.ndarray | None = None
) -> Any:
    if (tokens is None) == (features is None):
        raise ValueError("give either token ids or features")
    if features is not None:
        return messages.ModelInputs(features=to_tensor(features))
    ids = [_sequence(i, sequence) for i, sequence in enumerate(tokens)]
    batch = messages.TokenBatch(lengths=[len(sequence) for sequence in ids])
    if ids:
        batch.ids.extend(np.concatenate(ids).tolist())
    return messages.ModelInputs(tokens=batch)
