"""The table of compare_quality.py, beside what it is meant to reach."""

from quality.plans import TARGETS

_DIGITS = {"mean_cosine": 5, "worst": 4, "spearman_lost": 3}


def show(rows, with_pairs) -> bool:
    """Whether every target is met."""
    columns = ["held-out mean", "worst"]
    if with_pairs:
        columns += ["STS mean", "worst", "Spearman lost"]
    columns += ["MB", "float", "speed", "CPU seconds"]
    print(f"\n{'':28}" + "".join(f"{c:>14}" for c in columns))
    for row in rows:
        cells = [] if row.get("failed") else _cells(row, with_pairs)
        name = f"{row['engine']} {row['plan']}"
        line = f"{name:28}" + "".join(f"{c:>14}" for c in cells)
        print(line if cells else f"{name:28}  failed")
    if not with_pairs:
        print("no --sts: nothing is said of Spearman, or of its pairs")
    print("\ntargets")
    all_met = True
    for row in rows:
        for met, line in _verdicts(row):
            print(f"  {row['plan']:26}{line}: {'met' if met else 'MISSED'}")
            all_met = all_met and met
    return all_met


def _cells(row, with_pairs) -> list:
    cells = [f"{row['mean_cosine']:.5f}", f"{row['worst']:.4f}"]
    if with_pairs:
        pairs = row["pairs"]
        cells += [
            f"{pairs['mean_cosine']:.5f}",
            f"{pairs['worst']:.4f}",
            f"{pairs['spearman_lost']:.3f}",
        ]
    if "bytes" not in row:
        return cells
    return [
        *cells,
        f"{row['bytes'] / 1e6:.1f}",
        f"{row['float_layers']}",
        f"{row['speed']:.2f}x",
        f"{row['cpu_seconds']:.1f}",
    ]


def _verdicts(row) -> list:
    targets = TARGETS.get(row["plan"], {}) if row["engine"] == "octet" else {}
    if row.get("failed"):
        return [(False, "the job failed")] if targets else []
    verdicts = []
    for name, target in targets.items():
        at_most = name in ("spearman_lost", "float_layers", "cpu_seconds")
        for where, numbers in (("", row), (" on STS", row.get("pairs", {}))):
            if name not in numbers:
                continue
            value = numbers[name]
            met = value <= target if at_most else value >= target
            digits = _DIGITS.get(name, 2)
            verdicts.append(
                (
                    met,
                    f"{name}{where} {value:.{digits}f} "
                    f"{'<=' if at_most else '>='} {target}",
                )
            )
    return verdicts
