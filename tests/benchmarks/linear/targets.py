"""What the linear layer is to reach, and whether it does.

A cell is memory-bound where reading its weights takes longer than multiplying
at the register peak would; both are measured beside it. Weights count as beyond
cache where the cell's copies of them take turns (measure.py).
"""

import dataclasses
from collections.abc import Callable

from measure import copies

OCTET = ("octet", "int8")
PEAK = ("limits", "int8_peak")
READ = ("limits", "read")
L2 = 768 << 10  # fits a private cache together with everything else


@dataclasses.dataclass
class Target:
    name: str
    goal: float
    value: Callable  # of a cell; None where the target does not speak of it


def peak_share(cell):
    if PEAK not in cell.ns or OCTET not in cell.ns:
        return None
    return cell.operations / cell.work[PEAK] * cell.ratio(PEAK, OCTET)


def read_share(cell):
    return cell.ratio(READ, OCTET)


def memory_bound(cell) -> bool:
    arithmetic = cell.operations / cell.rate(PEAK)
    return cell.time(READ) > arithmetic


def against(cell, engines, variant):
    """The smallest of the ratios: against the fastest of them, that is."""
    ratios = [
        cell.ratio((engine, variant), OCTET)
        for engine in engines
        if (engine, variant) in cell.ns
    ]
    return min((r for r in ratios if r is not None), default=None)


def rivals(cells, prefix=""):
    names = {engine for cell in cells for engine, _ in cell.ns}
    return sorted(
        name for name in names - {"octet", "limits"} if name.startswith(prefix)
    )


def targets(cells) -> list[Target]:
    """Those of one thread, on a CPU with an INT8 dot product."""

    def where(condition, value):
        return lambda cell: value(cell) if condition(cell) else None

    def beyond_cache(cell):
        return cell.m <= 8 and copies(cell.m, cell.k * cell.n) > 1

    def in_l2(cell):
        return cell.m == 1 and cell.k * cell.n <= L2

    onednn3 = [e for e in rivals(cells, "onednn") if e != "onednn_debian"]
    int8 = ["onnxruntime", "openvino"]
    everyone = ["octet", *rivals(cells)]

    def rival8(cell):
        return against(cell, int8, "int8")

    def fp32(cell):
        return against(cell, everyone, "fp32")

    def compute_bound(cell):
        return not memory_bound(cell)

    return [
        Target(
            "M >= 64, K <= 1536: of the register peak",
            0.85,
            where(lambda c: c.m >= 64 and c.k <= 1536, peak_share),
        ),
        Target(
            "M >= 64, K >= 4096: of the register peak",
            0.80,
            where(lambda c: c.m >= 64 and c.k >= 4096, peak_share),
        ),
        Target(
            "M <= 8, beyond cache: of a read loop",
            0.92,
            where(beyond_cache, read_share),
        ),
        Target(
            "M = 1, in L2: of L2 read speed", 0.60, where(in_l2, read_share)
        ),
        Target(
            "against oneDNN 3.x, multiply alone",
            1.0,
            lambda cell: against(cell, onednn3, "int8"),
        ),
        Target(
            "against ORT and OpenVINO, compute-bound",
            1.3,
            where(compute_bound, rival8),
        ),
        Target(
            "against ORT and OpenVINO, memory-bound",
            1.0,
            where(memory_bound, rival8),
        ),
        Target(
            "against the best FP32, compute-bound",
            4.0,
            where(compute_bound, fp32),
        ),
        Target(
            "against the best FP32, memory-bound",
            3.6,
            where(memory_bound, fp32),
        ),
    ]


def print_verdict(name, goal, values, worst_is=min) -> None:
    """values: [(value, where)]; one line, with the worst and who misses."""
    if not values:
        print(f"  -    {name:44} nothing measured")
        return
    meets = (lambda v: v >= goal) if worst_is is min else (lambda v: v <= goal)
    missed = sorted(
        (v for v in values if not meets(v[0])), reverse=worst_is is max
    )
    worst, at = worst_is(values)
    print(
        f"  {'MISS' if missed else 'ok':4} {name:44} "
        f"{'>=' if worst_is is min else '<='} {goal:5.2f}: "
        f"{len(values) - len(missed)} of {len(values)}; "
        f"worst {worst:.2f} at {at}"
    )
    if missed[1:]:
        shown = ", ".join(f"{at} {v:.2f}" for v, at in missed[1:6])
        print(f"       {'':44} then {shown}{', ...' if missed[6:] else ''}")


def print_verdicts(cells) -> None:
    if not all(PEAK in cell.ns and READ in cell.ns for cell in cells):
        print("\nno verdict: this CPU's limits were not measured")
        return
    print("\ntargets, one thread")
    for target in targets(cells):
        values = [(target.value(cell), cell.name()) for cell in cells]
        print_verdict(
            target.name, target.goal, [v for v in values if v[0] is not None]
        )
