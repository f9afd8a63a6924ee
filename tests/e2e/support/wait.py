"""Waiting for what happens soon, and no longer than that."""

import time


def until(condition, what="it did not happen", seconds=30.0):
    """The first true value of `condition()`; `what` is said when there is
    none in time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, what
        time.sleep(0.01)
