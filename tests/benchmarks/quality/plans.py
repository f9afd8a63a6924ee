"""The plans that are compared, and what each is meant to reach."""

from support.api import pb

_EXACT = pb.QuantizationMethods(
    hadamard_block=256, rounding=pb.ROUNDING_GPTQ, bias_correction=True
)
_SMOOTHED = pb.QuantizationMethods(
    smoothing=pb.SMOOTHING_SEARCH,
    rounding=pb.ROUNDING_GPTQ,
    bias_correction=True,
)

# The first is what the others' speed is compared with.
PLANS = {
    "w8a8-dynamic": {"scheme": pb.SCHEME_W8A8_DYNAMIC},
    "llm-int8": {"scheme": pb.SCHEME_LLM_INT8},
    "w8a8-static": {"scheme": pb.SCHEME_W8A8_STATIC},
    "static-smoothed": {
        "scheme": pb.SCHEME_W8A8_STATIC,
        "methods": _SMOOTHED,
    },
    "static-rotated": {"scheme": pb.SCHEME_W8A8_STATIC, "methods": _EXACT},
    # A little above 0.999, so that texts it was not calibrated on stay above.
    "auto-0999": {
        "policy": pb.POLICY_AUTO,
        "budget": pb.Budget(min_mean_cosine=0.9992),
    },
    "auto-09995": {
        "policy": pb.POLICY_AUTO,
        "budget": pb.Budget(min_mean_cosine=0.9995),
    },
    "w8a8-best": {"scheme": pb.SCHEME_W8A8_DYNAMIC, "methods": _EXACT},
}

# One method at a time, for docs/methods.md.
_DYNAMIC = {
    "gptq": {"rounding": pb.ROUNDING_GPTQ},
    "bias": {"bias_correction": True},
    "groups": {"group_size": 128},
    "smoothed": {"smoothing": pb.SMOOTHING_SEARCH},
    "rotated": {"hadamard_block": 256},
    "rotated-gptq": {"hadamard_block": 256, "rounding": pb.ROUNDING_GPTQ},
}
_CALIBRATED = {
    "percentile": {"calibrator": pb.CALIBRATOR_PERCENTILE},
    "entropy": {"calibrator": pb.CALIBRATOR_ENTROPY},
    "mse": {"calibrator": pb.CALIBRATOR_MSE},
    "smoothed": {"smoothing": pb.SMOOTHING_SEARCH},
    "rotated": {"hadamard_block": 256},
}
METHODS = {
    f"{kind}-only-{name}": {
        "scheme": scheme,
        "methods": pb.QuantizationMethods(**methods),
    }
    for kind, scheme, ways in (
        ("dynamic", pb.SCHEME_W8A8_DYNAMIC, _DYNAMIC),
        ("static", pb.SCHEME_W8A8_STATIC, _CALIBRATED),
    )
    for name, methods in ways.items()
}
METHODS["llm-int8-6-sigma"] = {
    "scheme": pb.SCHEME_LLM_INT8,
    "outlier_rule": pb.OUTLIER_RULE_SIGMA,
    "outlier_threshold": 6.0,
}

TARGETS = {
    "w8a8-dynamic": {"mean_cosine": 0.996},
    "llm-int8": {"mean_cosine": 0.999, "worst": 0.995, "spearman_lost": 0.1},
    # The best static one.
    "static-rotated": {
        "mean_cosine": 0.999,
        "worst": 0.995,
        "spearman_lost": 0.1,
    },
    "auto-09995": {
        "mean_cosine": 0.9995,
        "worst": 0.998,
        "spearman_lost": 0.05,
        "cpu_seconds": 120,
    },
    "w8a8-best": {
        "mean_cosine": 0.9998,
        "worst": 0.9992,
        "spearman_lost": 0.02,
        "float_layers": 2,
        "speed": 0.87,  # within 15 %
    },
}


def chosen(names) -> dict:
    """Those of these names, or all but METHODS; always the first."""
    if not names:
        return PLANS
    known = PLANS | METHODS
    unknown = set(names) - set(known)
    if unknown:
        raise SystemExit(f"no plan {sorted(unknown)}; there are: {list(known)}")
    first = next(iter(PLANS))
    return {n: s for n, s in known.items() if n == first or n in names}
