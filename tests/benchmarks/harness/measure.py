"""One row of a table: the same work, done by all engines in turn.

One thread is measured in CPU time: another process on the same core costs it
its caches then, but does not count as its own work. Several threads are
measured by the clock on the wall.
"""

import dataclasses
import statistics
import sys

from harness.engines import EngineError

SECONDS_PER_TURN = 0.008
SLOW = 0.030  # a call as long as that is taken less often


@dataclasses.dataclass
class Turns:
    """ns[contestant] holds one time per round; (engine, variant) contests."""

    ns: dict = dataclasses.field(default_factory=dict)
    work: dict = dataclasses.field(default_factory=dict)

    def time(self, contestant) -> float | None:
        """Median nanoseconds, the cost of reaching the engine taken off. None
        where that is most of it: there, nothing was measured."""
        times = self._net(contestant)
        return statistics.median(times) if times else None

    def rate(self, contestant) -> float | None:
        """Work per nanosecond: GOP/s, or GB/s for what reads."""
        time = self.time(contestant)
        return self.work[contestant] / time if time else None

    def ratio(self, contestant, to) -> float | None:
        """How often `to` fits into the time of `contestant`, turn by turn."""
        times, others = self._net(contestant), self._net(to)
        if not times or not others:
            return None
        return statistics.median(a / b for a, b in zip(times, others))

    def smallest_ratio(self, engines, variant, to) -> float | None:
        """Against the fastest of them, that is."""
        ratios = [self.ratio((engine, variant), to) for engine in engines]
        return min((r for r in ratios if r is not None), default=None)

    def _net(self, contestant):
        times = self.ns.get(contestant)
        overhead = self.ns.get((contestant[0], "overhead"))
        if not times or not overhead:
            return times
        cost = statistics.median(overhead)
        if cost > 0.5 * statistics.median(times):
            return None
        return [time - cost for time in times]


def take_turns(engines, contestants: dict, rounds, clock="cpu_ns") -> Turns:
    """contestants: (engine, variant) -> what it is prepared with."""
    turns = Turns()
    calls = {}
    for (engine, variant), numbers in contestants.items():
        try:
            answer = engines[engine].ask("prepare", variant, *numbers)
            engines[engine].spread(variant)
            seconds = 1e-9 * engines[engine].ask("run", variant, 1)["ns"]
        except EngineError as error:
            print(f"LEFT OUT: {variant} {numbers}, {error}", file=sys.stderr)
            continue
        turns.work[engine, variant] = answer["work"]
        turns.ns[engine, variant] = []
        calls[engine, variant] = max(1, int(SECONDS_PER_TURN / seconds))
        if seconds > SLOW:
            rounds = min(rounds, 3)
    ended = _run_in_turns(engines, calls, rounds, clock, turns)
    for engine in {engine for engine, _ in calls} - ended:
        engines[engine].ask("drop")
    return turns


def _run_in_turns(engines, calls: dict, rounds, clock, turns: Turns) -> set:
    """Those that ended meanwhile, of which no time is kept."""
    order = list(calls)
    ended = set()
    for turn in range(rounds):
        first = turn % len(order)
        for contestant in order[first:] + order[:first]:
            engine, variant = contestant
            if engine in ended:
                continue
            try:
                answer = engines[engine].ask("run", variant, calls[contestant])
                turns.ns[contestant].append(answer[clock])
            except EngineError as error:
                print(f"LEFT OUT: {variant}, {error}", file=sys.stderr)
                ended.add(engine)
    for contestant in order:
        if contestant[0] in ended:
            del turns.ns[contestant]
    return ended
