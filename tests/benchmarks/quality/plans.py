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
    "auto-09995": {
        "policy": pb.POLICY_AUTO,
        "budget": pb.Budget(min_mean_cosine=0.9995),
    },
    "w8a8-best": {"scheme": pb.SCHEME_W8A8_DYNAMIC, "methods": _EXACT},
}

_STATIC = {"mean_cosine": 0.999, "worst": 0.995, "spearman_lost": 0.1}
TARGETS = {
    "w8a8-dynamic": {"mean_cosine": 0.996},
    "llm-int8": {"mean_cosine": 0.999, "worst": 0.995, "spearman_lost": 0.1},
    "static-smoothed": _STATIC,
    "static-rotated": _STATIC,
    "auto-09995": {
        "mean_cosine": 0.9995,
        "worst": 0.998,
        "spearman_lost": 0.05,
        "quantize_seconds": 120,
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
    """Those of these names, and always the first."""
    if not names:
        return PLANS
    unknown = set(names) - set(PLANS)
    if unknown:
        raise SystemExit(f"no plan {sorted(unknown)}; there are: {list(PLANS)}")
    first = next(iter(PLANS))
    return {n: s for n, s in PLANS.items() if n == first or n in names}
