"""How long to wait before trying again, and when to give up."""

from __future__ import annotations

import random
import time

ATTEMPTS = 6  # without progress
FIRST_WAIT = 0.2
LONGEST_WAIT = 10.0


class Backoff:
    """wait(n) = min(0.2 * 2^n, 10) * uniform(0.5, 1) seconds: the random factor
    keeps many clients from coming back at the same moment."""

    def __init__(self) -> None:
        self._attempts = 1

    def progressed(self) -> None:
        self._attempts = 1

    def wait(self) -> bool:
        """Sleeps; False, at once, when all attempts are used up."""
        if self._attempts >= ATTEMPTS:
            return False
        whole = min(FIRST_WAIT * 2 ** (self._attempts - 1), LONGEST_WAIT)
        self._attempts += 1
        time.sleep(whole * random.uniform(0.5, 1.0))
        return True
