"""QuantizationSpec of octet.v1 from what Python callers write."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional, Union

from octet_client._protocol import enums, messages

# A scheme, or methods by name and perhaps a "scheme".
Override = Union[str, Mapping[str, Any]]

_LIMITS = (
    "min_mean_cosine",
    "max_relative_error",
    "max_bytes",
    "max_size_ratio",
)


def _one_limit(budget: Mapping[str, float]) -> Mapping[str, float]:
    """Two limits would silently be the last one on the wire."""
    if sum(limit in budget for limit in _LIMITS) > 1:
        raise ValueError(f"a budget has one of {', '.join(_LIMITS)}")
    return budget


def _methods(methods: Mapping[str, Any]) -> Any:
    fields = messages.QuantizationMethods.DESCRIPTOR.fields_by_name
    values = {}
    for name, value in methods.items():
        if name not in fields:
            raise ValueError(f"{name!r} is not one of {', '.join(fields)}")
        if isinstance(value, str) and fields[name].enum_type is not None:
            value = enum_value(name.upper(), value)
        values[name] = value
    return messages.QuantizationMethods(**values)


def _override(pattern: str, what: Union[str, Mapping[str, Any]]) -> Any:
    methods = {"scheme": what} if isinstance(what, str) else dict(what)
    scheme = methods.pop("scheme", None)
    return messages.SchemeOverride(
        pattern=pattern,
        scheme=scheme and enum_value("SCHEME", scheme),
        methods=_methods(methods),
    )


def _patterns(name: str, patterns: Iterable[str]) -> Iterable[str]:
    """A str would pass as a pattern for each of its characters."""
    if isinstance(patterns, str):
        raise TypeError(f"{name} is a str; give a list of patterns")
    return patterns


def quantization_spec(
    *,
    policy: str,
    budget: Optional[Mapping[str, float]],
    methods: Mapping[str, Any],
    scheme: str,
    float_scheme: str,
    include: Iterable[str],
    exclude: Iterable[str],
    overrides: Iterable[tuple[str, Override]],
    outlier_rule: str,
    **fields: Any,
) -> Any:
    return messages.QuantizationSpec(
        policy=enum_value("POLICY", policy),
        budget=messages.Budget(**_one_limit(budget)) if budget else None,
        methods=_methods(methods),
        scheme=enum_value("SCHEME", scheme),
        float_scheme=enum_value("SCHEME", float_scheme),
        include=_patterns("include", include),
        exclude=_patterns("exclude", exclude),
        overrides=[_override(*override) for override in overrides],
        outlier_rule=enum_value("OUTLIER_RULE", outlier_rule),
        **fields,
    )


def enum_value(prefix: str, name: str) -> int:
    number = vars(enums).get(f"{prefix}_{name.upper()}")
    if number is None:
        names = sorted(
            key[len(prefix) + 1 :].lower()
            for key, value in vars(enums).items()
            if key.startswith(f"{prefix}_") and value != 0
        )
        raise ValueError(f"{name!r} is not one of {', '.join(names)}")
    return number
