"""Quantizations of what is not there, or in ways that contradict each other."""

import pytest

from support.api import pb
from support.bad_input import CODE, Case, fresh


def quantize(checkpoint="mlp", calibration="", bundle=None, **spec):
    """The request itself must fail, not the operation."""
    return lambda client: client.start_quantization(
        checkpoint, bundle or fresh(), calibration, **spec
    )


QUANTIZATION = [
    Case(
        "quantize-nothing",
        quantize("nowhere"),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "quantize-without-calibration-static",
        quantize(scheme=pb.SCHEME_W8A8_STATIC),
        CODE.FAILED_PRECONDITION,
        ("calibration",),
    ),
    Case(
        "quantize-without-calibration-llm-int8",
        quantize(scheme=pb.SCHEME_LLM_INT8),
        CODE.FAILED_PRECONDITION,
        ("calibration",),
    ),
    Case(
        "quantize-with-an-unknown-calibration",
        quantize(calibration="nowhere"),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "quantize-with-the-calibration-of-another",
        quantize(calibration="bert"),
        CODE.INVALID_ARGUMENT,
        ("calibration",),
    ),
    Case(
        "quantize-include-matches-nothing",
        quantize(include=["fc1", "encoder.*"]),
        CODE.INVALID_ARGUMENT,
        ("include", "encoder.*"),
    ),
    Case(
        "quantize-exclude-matches-nothing",
        quantize(exclude=["lm_head"]),
        CODE.INVALID_ARGUMENT,
        ("exclude", "lm_head"),
    ),
    Case(
        "quantize-override-matches-nothing",
        quantize(
            overrides=[pb.SchemeOverride(pattern="x", scheme=pb.SCHEME_FP32)]
        ),
        CODE.INVALID_ARGUMENT,
        ("overrides", "x"),
    ),
    Case(
        "quantize-scheme-unknown",
        quantize(scheme=77),
        CODE.INVALID_ARGUMENT,
        ("scheme",),
    ),
    Case(
        "quantize-float-scheme-is-int8",
        quantize(float_scheme=pb.SCHEME_LLM_INT8),
        CODE.INVALID_ARGUMENT,
        ("float_scheme",),
    ),
    *(
        Case(
            f"quantize-threshold-{name}",
            quantize(
                calibration="mlp",
                scheme=pb.SCHEME_LLM_INT8,
                outlier_threshold=value,
            ),
            CODE.INVALID_ARGUMENT,
            ("outlier_threshold",),
        )
        for name, value in (
            ("negative", -6.0),
            ("nan", float("nan")),
            ("infinite", float("inf")),
        )
    ),
    Case(
        "quantize-outlier-rule-unknown",
        quantize(calibration="mlp", scheme=pb.SCHEME_LLM_INT8, outlier_rule=9),
        CODE.INVALID_ARGUMENT,
        ("outlier_rule",),
    ),
    Case(
        "quantize-bundle-id-bad",
        quantize(bundle="Bundle"),
        CODE.INVALID_ARGUMENT,
        ("bundle_id",),
        "bundle_id",
    ),
    Case(
        "quantize-bundle-id-taken",
        quantize(bundle="mlp-int8"),
        CODE.ALREADY_EXISTS,
        ("mlp-int8",),
    ),
    Case(
        "operation-unknown",
        lambda client: list(client.watch("operations/nowhere")),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "cancel-what-is-done",
        lambda client: client.quantization.CancelOperation(
            pb.CancelOperationRequest(
                name=client.quantize("mlp", fresh()).name
            ),
            timeout=60,
        ),
        CODE.FAILED_PRECONDITION,
        ("operation",),
    ),
    Case(
        "delete-a-bundle-in-use",
        lambda client: client.delete_bundle("mlp-int8"),
        CODE.FAILED_PRECONDITION,
        ("mlp-int8",),
    ),
    Case(
        "report-of-nothing",
        lambda client: client.report("nowhere"),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
    Case(
        "download-of-nothing",
        lambda client: client.download_bundle("nowhere"),
        CODE.NOT_FOUND,
        ("nowhere",),
    ),
]


@pytest.mark.parametrize("case", QUANTIZATION, ids=str)
def test_a_bad_quantization(prepared, server, still_serves, case):
    case.check(prepared, server)
    still_serves()
