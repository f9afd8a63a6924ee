"""Bundle archives as a hostile client would send them."""

import io
import tarfile


def members(tar: bytes):
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return [
            (member, archive.extractfile(member).read())
            for member in archive
            if member.isfile()
        ]


def pack(entries) -> bytes:
    """`entries`: (TarInfo, bytes)."""
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=tarfile.PAX_FORMAT
    ) as archive:
        for info, data in entries:
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return out.getvalue()


def with_file(tar: bytes, path: str, data: bytes) -> bytes:
    return pack([*members(tar), (tarfile.TarInfo(path), data)])


def with_link(tar: bytes, path: str, target: str, kind) -> bytes:
    link = tarfile.TarInfo(path)
    link.type = kind
    link.linkname = target
    return pack([*members(tar), (link, b"")])


def without(tar: bytes, path: str) -> bytes:
    return pack([m for m in members(tar) if m[0].name.lstrip("./") != path])


def with_flipped_bit(tar: bytes, path: str) -> bytes:
    entries = []
    for info, data in members(tar):
        if info.name.lstrip("./") == path:
            middle = len(data) // 2
            flipped = bytes([data[middle] ^ 1])
            data = data[:middle] + flipped + data[middle + 1 :]
        entries.append((info, data))
    return pack(entries)
