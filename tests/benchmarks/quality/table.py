"""The table of compare_quality.py, beside what it is meant to reach."""

from quality.plans import TARGETS

_DIGITS = {"mean_cosine": 5, "worst": 4, "spearman_lost": 3}


def show(rows, with_pairs) -> None:
    columns = ["held-out mean", "worst"]
    if with_pairs:
        columns += ["STS mean", "worst", "Spearman lost"]
    columns += ["MB", "float", "speed", "seconds"]
    print(f"\n{'':28}" + "".join(f"{c:>14}" for c in columns))
    for row in rows:
        cells = [] if row.get("failed") else _cells(row, with_pairs)
        name = f"{row['engine']} {row['plan']}"
        line = f"{name:28}" + "".join(f"{c:>14}" for c in cells)
        print(line if cells else f"{name:28}  failed")
    print("\ntargets")
    for row in rows:
        for line in _verdicts(row):
            print(f"  {row['plan']:26}{line}")


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
        f"{row['quantize_seconds']:.1f}",
    ]


def _verdicts(row) -> list:
    targets = TARGETS.get(row["plan"], {}) if row["engine"] == "octet" else {}
    if row.get("failed"):
        return ["failed"] if targets else []
    lines = []
    for name, target in targets.items():
        value = {**row, **row.get("pairs", {"spearman_lost": None})}[name]
        if name in ("mean_cosine", "worst"):
            value = row[name]  # the pairs have their own
        if value is None:
            continue
        most = name in ("spearman_lost", "float_layers", "quantize_seconds")
        met = value <= target if most else value >= target
        digits = _DIGITS.get(name, 2)
        lines.append(
            f"{name} {value:.{digits}f} {'<=' if most else '>='} {target}: "
            f"{'met' if met else 'MISSED'}"
        )
    return lines
