"""One line for one target: how many meet it, and which do not."""


def print_verdict(name, goal, values, at_most=False, ceilings=None) -> None:
    """values: [(value, where)], to be `goal` or more, or at most `goal`.
    ceilings: where -> the value of somebody who needs no time but that of the
    CPU's own limits; how many of those reach a missed goal is told then."""
    if not values:
        print(f"  -    {name:44} nothing measured")
        return
    by_need = sorted(values, reverse=at_most)
    missed = [v for v in by_need if (v[0] > goal if at_most else v[0] < goal)]
    worst, where = by_need[0]
    print(
        f"  {'MISS' if missed else 'ok':4} {name:44} "
        f"{'<=' if at_most else '>='} {goal:<5g}: "
        f"{len(values) - len(missed)} of {len(values)}; "
        f"worst {worst:.4g} at {where}"
    )
    if missed[1:]:
        shown = ", ".join(
            f"{where} {value:.4g}" for value, where in missed[1:6]
        )
        print(f"{'':52}then {shown}{', ...' if missed[6:] else ''}")
    if missed and ceilings:
        within = sum(ceiling >= goal for ceiling in ceilings.values())
        print(f"{'':52}at the limits of the CPU: {within} of {len(ceilings)}")
