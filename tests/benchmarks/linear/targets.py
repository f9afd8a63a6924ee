"""What the linear layer is to reach on one thread, and whether it does."""

from harness.verdict import print_verdict
from linear.cell import OCTET

L2 = 768 << 10  # fits a private cache together with everything else


def print_verdicts(cells) -> None:
    """A target without what it is measured by says so, and the others stand."""
    print("\ntargets, one thread")
    for name, goal, applies, value in _targets(cells):
        measured = [(value(c), c) for c in cells if applies(c)]
        measured = [(v, c) for v, c in measured if v is not None]
        print_verdict(
            name,
            goal,
            [(v, c.name) for v, c in measured],
            ceilings={
                c.name: v / c.limit_share
                for v, c in measured
                if c.limit_share is not None
            },
        )


def _targets(cells):
    """(name, goal, which cells it speaks of, their values)."""
    rivals = {e for cell in cells for e, _ in cell.turns.ns} - {"limits"}
    onednn3 = [e for e in rivals if e.startswith("onednn_newer")]

    def onednn(cell):
        return cell.turns.smallest_ratio(onednn3, "int8", OCTET)

    def int8(cell):
        both = ["onnxruntime", "openvino"]
        return cell.turns.smallest_ratio(both, "int8", OCTET)

    def fp32(cell):
        return cell.turns.smallest_ratio(rivals, "fp32", OCTET)

    def peak(cell):
        return cell.peak_share

    def read(cell):
        return cell.read_share

    def memory(cell):
        return cell.memory_bound is True

    def compute(cell):
        return cell.memory_bound is False

    return [
        (
            "of the register peak, M >= 64, K <= 1536",
            0.85,
            lambda cell: cell.m >= 64 and cell.k <= 1536,
            peak,
        ),
        (
            "of the register peak, M >= 64, K >= 4096",
            0.80,
            lambda cell: cell.m >= 64 and cell.k >= 4096,
            peak,
        ),
        (
            "of a read loop, M <= 8, beyond cache",
            0.92,
            lambda cell: cell.beyond_cache,
            read,
        ),
        (
            "of L2 read speed, M = 1, in L2",
            0.60,
            lambda cell: cell.m == 1 and cell.k * cell.n <= L2,
            read,
        ),
        ("x oneDNN 3.x, which only multiplies", 1.0, lambda _: True, onednn),
        ("x oneDNN 3.x, never under", 0.95, lambda _: True, onednn),
        ("x ORT and OpenVINO int8, compute-bound", 1.3, compute, int8),
        ("x ORT and OpenVINO int8, memory-bound", 1.0, memory, int8),
        ("x the best FP32, compute-bound", 4.0, compute, fp32),
        ("x the best FP32, memory-bound", 3.6, memory, fp32),
    ]
