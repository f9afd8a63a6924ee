"""Streams of requests that callers' own code makes."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

from octet_client.errors import OctetError, translated


@contextlib.contextmanager
def sending(requests: Iterator[Any]) -> Iterator[Iterator[Any]]:
    """Hands out `requests` for one call that sends them. gRPC takes them on a
    thread of its own and forgets what they raise; here the block raises it, in
    place of what gRPC makes of it. Other errors become OctetError."""
    failures: list[BaseException] = []

    def remembered() -> Iterator[Any]:
        try:
            yield from requests
        except Exception as error:
            failures.append(error)
            raise

    try:
        with translated():
            yield remembered()
    except OctetError:
        if failures:
            raise failures[0] from None
        raise
