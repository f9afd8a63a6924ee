"""One cell of the table: a shape, measured on all engines in turn.

One thread is measured in CPU time: another process on the same core costs it
its caches then, but does not count as its own work. Several threads are
measured by the clock on the wall.
"""

import dataclasses
import math
import statistics
import sys

from engines import EngineError

SECONDS_PER_TURN = 0.008
SLOW = 0.030  # a call as long as that is taken less often
CACHE = 32 << 20  # what a last-level cache may hold


@dataclasses.dataclass
class Cell:
    """ns[contestant] is one time per round; (engine, variant) contests."""

    m: int
    k: int
    n: int
    ns: dict
    work: dict

    @property
    def operations(self) -> float:
        return 2.0 * self.m * self.k * self.n

    def name(self) -> str:
        return f"{self.m}x{self.k}x{self.n}"

    def time(self, contestant) -> float | None:
        """Median nanoseconds, the cost of reaching the engine taken off. None
        where that is most of it: there, nothing was measured."""
        times = self._net(contestant)
        return statistics.median(times) if times else None

    def rate(self, contestant) -> float | None:
        """Work per nanosecond: GOP/s, or GB/s for `read`."""
        time = self.time(contestant)
        return self.work[contestant] / time if time else None

    def ratio(self, contestant, to) -> float | None:
        """How often `to` fits into the time of `contestant`, turn by turn."""
        times, others = self._net(contestant), self._net(to)
        if not times or not others:
            return None
        return statistics.median(a / b for a, b in zip(times, others))

    def _net(self, contestant):
        times = self.ns.get(contestant)
        overhead = self.ns.get((contestant[0], "overhead"))
        if not times or not overhead or contestant[1] == "overhead":
            return times
        cost = statistics.median(overhead)
        if cost > 0.5 * statistics.median(times):
            return None
        return [time - cost for time in times]


def copies(m: int, weight_bytes: int) -> int:
    """Where few rows meet more weights than a private cache holds, several
    layers take turns, as the layers of a model do, so that the weights come
    from memory each time."""
    if m > 8 or weight_bytes <= 4 << 20:
        return 1
    return math.ceil(4 * CACHE / weight_bytes)


def measure(engines, contestants, shape, rounds, clock="cpu_ns") -> Cell:
    m, k, n = shape
    cell = Cell(m, k, n, {}, {})
    calls = {}
    for engine, variant in contestants:
        width = 4 if variant == "fp32" else 1
        numbers = (m, k, n, copies(m, k * n * width))
        try:
            answer = engines[engine].ask("prepare", variant, *numbers)
            seconds = 1e-9 * engines[engine].ask("run", variant, 1)["ns"]
        except EngineError as error:
            print(f"{cell.name()} {error}", file=sys.stderr)
            continue
        cell.work[engine, variant] = answer["work"]
        calls[engine, variant] = max(1, int(SECONDS_PER_TURN / seconds))
        cell.ns[engine, variant] = []
        if seconds > SLOW:
            rounds = min(rounds, 3)
    order = list(calls)
    for turn in range(rounds):
        first = turn % len(order)
        for engine, variant in order[first:] + order[:first]:
            answer = engines[engine].ask("run", variant, calls[engine, variant])
            cell.ns[engine, variant].append(answer[clock])
    for engine in {engine for engine, _ in order}:
        engines[engine].ask("drop")
    return cell
