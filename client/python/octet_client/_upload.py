"""Uploading a checkpoint: which files, in which chunks, and going on after a
broken connection."""

from __future__ import annotations

import hashlib
import pathlib
from typing import Any, Callable, Iterator, Optional

import google_crc32c
import grpc

from octet_client._protocol import enums, messages
from octet_client._retry import Backoff
from octet_client._streams import sending
from octet_client.errors import OctetError, translated

Progress = Optional[Callable[[int, int], None]]

CHUNK_BYTES = 1 << 20  # "about 1 MiB is a good size, 4 MiB the limit"
SMALL_FILE_BYTES = 64 << 20


def checkpoint_files(directory: pathlib.Path) -> list[Any]:
    """*.safetensors, *.json and *.txt, here and one level below."""
    found = []
    for path in sorted([*directory.glob("*"), *directory.glob("*/*")]):
        relative = path.relative_to(directory)
        if any(part.startswith(".") for part in relative.parts):
            continue
        small = path.suffix in (".json", ".txt")
        if not path.is_file() or not (small or path.suffix == ".safetensors"):
            continue
        size = path.stat().st_size
        if small and size > SMALL_FILE_BYTES:
            continue
        found.append(
            messages.UploadedFile(
                path=relative.as_posix(), size_bytes=size, sha256=_sha256(path)
            )
        )
    names = {file.path for file in found}
    if "config.json" not in names:
        raise FileNotFoundError(f"{directory} has no config.json")
    if not any(name.endswith(".safetensors") for name in names):
        raise FileNotFoundError(f"{directory} has no *.safetensors file")
    return found


def _sha256(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class CheckpointUpload:
    """One upload over as many streams as it takes."""

    def __init__(
        self,
        methods: Any,
        directory: pathlib.Path,
        checkpoint_id: str,
        progress: Progress,
    ):
        self._methods = methods
        self._directory = directory
        self._id = checkpoint_id
        self._progress = progress
        self._files = checkpoint_files(directory)
        self._received = {file.path: 0 for file in self._files}
        self._total = sum(file.size_bytes for file in self._files)

    def run(self) -> Any:
        backoff, best, sent = Backoff(), 0, False
        while True:
            try:
                known = self._learn_progress()
                # ACTIVE after our own bytes: only the answer was lost.
                if known is not None and sent:
                    return known
                held = sum(self._received.values())
                if held > best:
                    best = held
                    backoff.progressed()
                sent = True
                with sending(self._requests()) as stream:
                    return self._methods.UploadCheckpoint(stream)
            except OctetError as error:
                # ABORTED: the server has not yet given up the broken stream.
                again = (
                    error.connection_broke
                    or error.code is grpc.StatusCode.ABORTED
                )
                if not again or not backoff.wait():
                    raise

    def _learn_progress(self) -> Any:
        """What the server holds; the checkpoint when it is ACTIVE."""
        self._received = dict.fromkeys(self._received, 0)
        request = messages.GetCheckpointRequest(name=f"checkpoints/{self._id}")
        try:
            with translated():
                known = self._methods.GetCheckpoint(request)
        except OctetError as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                return None
            raise
        sizes = {file.path: file.size_bytes for file in known.files}
        if sizes != {file.path: file.size_bytes for file in self._files}:
            return None
        if known.state == vars(enums)["Checkpoint.STATE_ACTIVE"]:
            return known
        for file in known.files:
            self._received[file.path] = file.received_bytes
        return None

    def _requests(self) -> Iterator[Any]:
        header = messages.UploadCheckpointHeader(
            checkpoint_id=self._id, files=self._files
        )
        yield messages.UploadCheckpointRequest(header=header)
        sent = sum(self._received.values())
        self._report(sent)
        for file in self._files:
            for chunk in self._chunks(file.path, self._received[file.path]):
                yield messages.UploadCheckpointRequest(chunk=chunk)
                sent += len(chunk.data)
                self._report(sent)

    def _chunks(self, path: str, offset: int) -> Iterator[Any]:
        with (self._directory / path).open("rb") as source:
            source.seek(offset)
            while data := source.read(CHUNK_BYTES):
                yield messages.FileChunk(
                    path=path,
                    offset=offset,
                    data=data,
                    crc32c=google_crc32c.value(data),
                )
                offset += len(data)

    def _report(self, sent: int) -> None:
        if self._progress is not None:
            self._progress(sent, self._total)
