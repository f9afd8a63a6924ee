"""A linear layer at one number of rows, and everybody's times."""

import dataclasses
import math

from harness.measure import Turns, take_turns

CACHE = 32 << 20  # what a last-level cache may hold

OCTET = ("octet", "int8")
PEAK = ("limits", "int8_peak")
READ = ("limits", "read")


@dataclasses.dataclass
class Cell:
    m: int
    k: int
    n: int
    turns: Turns

    @property
    def name(self) -> str:
        return f"{self.m}x{self.k}x{self.n}"

    @property
    def operations(self) -> float:
        return 2.0 * self.m * self.k * self.n

    @property
    def peak_share(self) -> float | None:
        ratio = self.turns.ratio(PEAK, OCTET)
        return ratio and self.operations / self.turns.work[PEAK] * ratio

    @property
    def read_share(self) -> float | None:
        return self.turns.ratio(READ, OCTET)

    @property
    def beyond_cache(self) -> bool:
        return copies(self.m, self.k * self.n) > 1

    @property
    def limit_share(self) -> float | None:
        """What would be left of the time at the limits of the CPU: all products
        at the register peak, and all weights read where they must come from
        memory. Quantization takes no time there."""
        shares = [self.peak_share]
        if self.beyond_cache:
            shares.append(self.read_share)
        return max((s for s in shares if s is not None), default=None)

    @property
    def memory_bound(self) -> bool | None:
        """Reading the weights takes longer than their arithmetic would. None
        where the limits of the CPU were not measured."""
        peak, read = self.turns.rate(PEAK), self.turns.time(READ)
        if not peak or not read:
            return None
        return read > self.operations / peak


def copies(m: int, weight_bytes: int) -> int:
    """Where few rows meet more weights than a private cache holds, several
    layers take turns, as the layers of a model do, so that the weights come
    from memory each time."""
    if m > 8 or weight_bytes <= 4 << 20:
        return 1
    return math.ceil(4 * CACHE / weight_bytes)


def measure(engines, contestants, shape, rounds, clock="cpu_ns") -> Cell:
    m, k, n = shape

    def numbers(variant):
        width = 4 if variant == "fp32" else 1
        return m, k, n, copies(m, k * n * width)

    prepared = {(e, v): numbers(v) for e, v in contestants}
    return Cell(m, k, n, take_turns(engines, prepared, rounds, clock))
