"""Files that travel in chunks, and tars."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tarfile
import tempfile
from typing import Any, Callable, Iterator, Union

import google_crc32c
import grpc

from octet_client.errors import OctetError, translated

Path = Union[str, os.PathLike]


def download(method: Any, request: Any, path: pathlib.Path) -> None:
    """Writes what a method streams; DATA_LOSS for a chunk that came damaged."""
    received = 0
    with path.open("wb") as file, translated():
        for chunk in method(request):
            crc = google_crc32c.value(chunk.data)
            if chunk.offset != received or crc != chunk.crc32c:
                raise OctetError(
                    grpc.StatusCode.DATA_LOSS,
                    f"the chunk at byte {received} is damaged",
                )
            file.write(chunk.data)
            received += len(chunk.data)


@contextlib.contextmanager
def beside(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """A new directory on the file system of `target`, for what is renamed to it
    when it is whole. Whatever is left in it goes with it."""
    with tempfile.TemporaryDirectory(
        prefix=f".{target.name}.", dir=target.parent
    ) as aside:
        yield pathlib.Path(aside)


def chunks(path: Path, message: Callable[..., Any]) -> Iterator[Any]:
    """The file in messages with offset, data and crc32c."""
    offset = 0
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            crc = google_crc32c.value(data)
            yield message(offset=offset, data=data, crc32c=crc)
            offset += len(data)


def extract(tar: tarfile.TarFile, directory: pathlib.Path) -> None:
    """Regular files below `directory` and nothing else."""
    for member in tar:
        target = directory / member.name
        inside = target.resolve().is_relative_to(directory.resolve())
        source = tar.extractfile(member) if member.isreg() else None
        if source is None or not inside:
            raise OctetError(
                grpc.StatusCode.DATA_LOSS,
                f"the tar's {member.name!r} is not a file below its directory",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with source, target.open("wb") as file:
            while block := source.read(1 << 20):
                file.write(block)
