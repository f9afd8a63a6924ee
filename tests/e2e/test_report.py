"""What octet.json says of a bundle, what GetReport answers, and what
docs/report.md explains are the same."""

import json
import re

import pytest

from support.api import pb
from support.paths import ROOT

# What the message has on top.
ONLY_IN_THE_MESSAGE = {"summary"}


@pytest.fixture(scope="module", params=["W8A8_STATIC", "LLM_INT8"])
def bundle(prepared, request):
    name = f"report-{request.param.lower().replace('_', '-')}"
    scheme = getattr(pb, f"SCHEME_{request.param}")
    operation = prepared.quantize("bert", name, "bert", scheme=scheme)
    assert operation.bundle == f"bundles/{name}", operation
    return name


def as_plain(message):
    """A message as octet.json writes it: every field, schemes by name."""
    plain = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.enum_type is not None:
            name = field.enum_type.values_by_number[value].name
            value = name.removeprefix("SCHEME_").lower()
        elif field.message_type is not None and field.is_repeated:
            value = [as_plain(item) for item in value]
        elif field.message_type is not None:
            value = as_plain(value)
        elif field.is_repeated:
            value = list(value)
        if field.name not in ONLY_IN_THE_MESSAGE:
            plain[field.name] = value
    return plain


def numbers(value):
    """JSON has no infinities."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    special = ("Infinity", "-Infinity", "NaN")
    return float(value) if value in special else value


def test_the_manifest_and_the_message_agree(prepared, bundle):
    manifest = json.loads(prepared.bundle_files(bundle)["octet.json"])
    assert as_plain(prepared.report(bundle)) == numbers(manifest["report"])


def test_values_of_a_layer_are_bounded_and_add_up(prepared, bundle):
    report = prepared.report(bundle)
    assert report.calibration_samples == 128
    for layer in report.layers:
        weights = layer.weights
        assert weights.channels == layer.out_features
        assert sum(weights.histogram.counts) == (
            layer.out_features * layer.in_features
        )
        first = layer.shares_input_with
        assert (layer.activations.channels == 0) == bool(first)
        assert bool(first) == layer.layer.endswith(("self.key", "self.value"))
        for tensor in (weights, layer.activations):
            assert len(tensor.histogram.counts) <= 64
            assert len(tensor.largest_channels) <= 12
        if not first:
            assert layer.activations.channels == layer.in_features
            assert len(layer.calibrators) == 5
        static = layer.scheme == pb.SCHEME_W8A8_STATIC
        chosen = [c.calibrator for c in layer.calibrators if c.chosen]
        assert chosen == (["min_max"] if static and not first else [])
    assert report.summary.startswith("All 12 linear layers are INT8")


def test_every_field_is_explained():
    text = (ROOT / "docs/report.md").read_text()
    explained = set(re.findall(r"`(\w+)(?:\[\])?`", text))
    for message in (
        pb.QuantizationReport,
        pb.LayerReport,
        pb.TensorReport,
        pb.HistogramReport,
        pb.ChannelSpread,
        pb.ChannelReport,
        pb.CalibratorReport,
        pb.CandidateReport,
        pb.BudgetReport,
        pb.FrontierPoint,
        pb.ErrorMeasures,
    ):
        names = {field.name for field in message.DESCRIPTOR.fields}
        assert names <= explained, message.DESCRIPTOR.name
