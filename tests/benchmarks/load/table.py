"""What compare_serving.py measured, for people, and beside the targets."""

import statistics

from harness.verdict import print_verdict
from load.generator import milliseconds


def rate(summary) -> float:
    return summary["per_second"]


def half_of_all(summary) -> float:
    return milliseconds(summary, "p50")


def middle(rounds, name, shape, measure=rate) -> float:
    return statistics.median(measure(turn[name][shape]) for turn in rounds)


def show(result) -> None:
    turns, near = result["turns"], result["closeness"]
    print(
        f"\n{'':14}{'16 clients':>18}{'':>10}{'':>10}{'1 client':>10}"
        f"{'cosine to FP32':>18}\n"
        f"{'':14}{'sequences/s':>18}{'p50 ms':>10}{'p99 ms':>10}"
        f"{'p50 ms':>10}{'mean':>10}{'worst':>8}"
    )
    for name in turns[0]:
        print(
            f"{name:14}{middle(turns, name, 'crowd'):18.0f}"
            f"{middle(turns, name, 'crowd', half_of_all):10.2f}"
            f"{middle(turns, name, 'crowd', worst_of_100):10.2f}"
            f"{middle(turns, name, 'alone', half_of_all):10.2f}"
            f"{near[name]['mean_cosine']:10.5f}{near[name]['worst']:8.4f}"
        )
    for shape, seen in result["analyzed"].items():
        ours = (
            middle(turns, "octet", shape),
            middle(turns, "octet", shape, half_of_all),
        )
        print(
            f"perf_analyzer, {shape:5} {seen['per_second']:6.0f} sequences/s, "
            f"p50 {seen['p50_ms']:.2f} ms; octet_load {ours[0]:.0f}, "
            f"{ours[1]:.2f} ms"
        )
    busy, over = result["busy"], result["overload"]
    perfect = result["perfect"]
    refused = over["codes"].get("RESOURCE_EXHAUSTED", {})
    print(
        f"\nat 70 % of that: p50 {milliseconds(busy, 'p50'):.2f} ms, "
        f"p99 {milliseconds(busy, 'p99'):.2f} ms; of a perfect queue "
        f"p50 {perfect['p50']:.2f} ms, p99 {perfect['p99']:.2f} ms\n"
        f"at 200 %: {rate(over):.0f} sequences/s, "
        f"{refused.get('count', 0)} refused, p99 of these "
        f"{refused.get('p99_ms', 0):.2f} ms; health p50 "
        f"{over['health_ms']:.2f} ms, worst {over['health_worst_ms']:.1f} ms\n"
        f"given up while queued: {result['impatient']['queue']:.0f} not "
        f"computed, {result['impatient']['compute']:.0f} begun\n"
    )
    print_verdicts(result)


def worst_of_100(summary) -> float:
    return milliseconds(summary, "p99")


def by_turn(turns, shape, measure) -> list:
    """Octet's over the best rival's, in each turn; how rates compare."""
    rivals = [name for name in turns[0] if name != "octet"]
    if not rivals:
        return []
    best = max if measure is rate else min
    ratios = [
        measure(turn["octet"][shape])
        / best(measure(turn[name][shape]) for name in rivals)
        for turn in turns
    ]
    return [(statistics.median(ratios), "median of turns")]


def print_verdicts(result) -> None:
    turns, over = result["turns"], result["overload"]
    peak = middle(turns, "octet", "crowd")
    calm = middle(turns, "octet", "alone", half_of_all)
    gone = result["impatient"]
    refused = milliseconds(over, "p99", "RESOURCE_EXHAUSTED")
    print("targets")
    print_verdict(
        "16 clients, x the best rival's rate", 2, by_turn(turns, "crowd", rate)
    )
    print_verdict(
        "1 client, x the best rival's p50",
        0.5,
        by_turn(turns, "alone", half_of_all),
        at_most=True,
    )
    print_verdict(
        "mean cosine to FP32",
        0.999,
        [(result["closeness"]["octet"]["mean_cosine"], "held-out texts")],
    )
    print_verdict(
        "p99 at 70 %, x the unloaded p50",
        3,
        [(milliseconds(result["busy"], "p99") / calm, "Poisson")],
        at_most=True,
    )
    print_verdict(
        "throughput at 200 %, of the peak", 0.9, [(rate(over) / peak, "open")]
    )
    print_verdict("refused within, ms", 5, [(refused, "p99")], at_most=True)
    print_verdict(
        "memory after overload, of before",
        1.02,
        [(over["memory_growth"], "resident")],
        at_most=True,
    )
    print_verdict(
        "health SERVING throughout", 1, [(over["always_serving"], "overload")]
    )
    print_verdict(
        "given up while queued, never computed",
        0.99,
        [(gone["queue"] / max(sum(gone.values()), 1), "by counter")],
    )
    print_verdict(
        "/metrics read every second, of a core",
        0.01,
        [(result["scrape_seconds"], "CPU time")],
        at_most=True,
    )
