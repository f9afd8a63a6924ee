"""Texts to embeddings: a tokenizer in front of a loaded model.

Needs the extra: pip install 'octet-client[text]'.
"""

from __future__ import annotations

import os
import pathlib
from typing import Sequence, Union

import numpy as np

from octet_client.client import Client

try:
    import tokenizers
except ImportError as error:
    raise ImportError(
        "octet_client.text needs tokenizers: pip install 'octet-client[text]'"
    ) from error


class Embedder:
    """Embeds texts with a model that takes token ids.

    client:          an open octet_client.Client
    model:           the id it is served under
    tokenizer_path:  tokenizer.json, or the directory that holds it
    batch_size:      texts per request
    """

    def __init__(
        self,
        client: Client,
        model: str,
        tokenizer_path: Union[str, os.PathLike],
        batch_size: int = 32,
    ):
        path = pathlib.Path(tokenizer_path)
        if path.is_dir():
            path = path / "tokenizer.json"
        self._client = client
        self._model = model
        self._batch_size = batch_size
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()  # batches are ragged
        longest = client.get_model(model).max_sequence_length
        if longest > 0:
            self._tokenizer.enable_truncation(longest)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        if isinstance(texts, str):
            raise TypeError("texts is a str; give a list of them")
        return [item.ids for item in self._tokenizer.encode_batch(list(texts))]

    def encode(self, texts: Union[str, Sequence[str]]) -> np.ndarray:
        """One row per text; of a single str, the row itself."""
        if isinstance(texts, str):
            return self.encode([texts])[0]
        ids = self.tokenize(texts)
        if not ids:
            width = self._client.get_model(self._model).output_width
            return np.empty((0, width), np.float32)
        parts = [
            self._client.forward(self._model, ids[i : i + self._batch_size])
            for i in range(0, len(ids), self._batch_size)
        ]
        return np.concatenate(parts)
