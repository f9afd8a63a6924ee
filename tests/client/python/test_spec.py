"""What a quantization is asked for, checked before it is sent."""

import pytest


def spec(include=(), exclude=(), **methods):
    from octet_client._spec import quantization_spec

    return quantization_spec(
        include=include,
        exclude=exclude,
        policy="fixed",
        budget=None,
        methods=methods,
        scheme="w8a8_dynamic",
        float_scheme="fp16",
        overrides=[],
        outlier_rule="absolute",
    )


def test_methods_go_by_name():
    from octet_client._protocol import enums

    methods = spec(rounding="gptq", hadamard_block=256).methods
    assert methods.rounding == enums.ROUNDING_GPTQ
    assert methods.hadamard_block == 256


def test_what_is_unknown_is_said_with_what_is_known():
    with pytest.raises(ValueError, match=r"'roundng' is not one of .*rounding"):
        spec(roundng="gptq")
    with pytest.raises(ValueError, match=r"'gptz' is not one of .*gptq"):
        spec(rounding="gptz")


def test_patterns_come_in_lists():
    assert list(spec(include=["encoder.*"]).include) == ["encoder.*"]
    with pytest.raises(TypeError, match="include is a str"):
        spec(include="encoder.*")
    with pytest.raises(TypeError, match="exclude is a str"):
        spec(exclude="encoder.*")
