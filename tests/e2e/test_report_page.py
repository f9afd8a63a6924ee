"""The report's page, in real Chromium: it draws, at the width of a desk and of
a phone, in light and dark; it asks the network for nothing and has nothing to
complain about. OCTET_REPORT_PICTURES names a folder that gets what was seen."""

import json
import os
import pathlib
import re

import numpy as np
import pytest

from support import checkpoints
from support.api import pb
from support.browser import Browser, Page, look

WIDTHS = {"desk": 1200, "phone": 390}
HOSTILE = "</script><script>document.title='taken'</script><b>'\"&amp;"


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def page_url(prepared, folder):
    """page_url(bundle): the report's page as a file."""

    def write(bundle: str) -> str:
        path = folder / f"{bundle}.html"
        rendered = prepared.render_report(bundle)
        assert rendered.media_type == "text/html; charset=utf-8"
        path.write_bytes(rendered.content)
        return path.as_uri()

    return write


def keep(page: Page, name: str) -> None:
    target = os.environ.get("OCTET_REPORT_PICTURES")
    if target:
        pathlib.Path(target, f"{name}.png").write_bytes(page.picture())


def drawn_plots(page: Page) -> dict[str, int]:
    """Marks in every plot that is shown, by the id of its section."""
    return page.evaluate(
        """Object.fromEntries([...document.querySelectorAll('section')]
        .filter((section) => section.querySelector('.plot') &&
          !section.hidden)
        .map((section) => [section.id, section.querySelectorAll(
          '.plot path, .plot circle, .plot rect').length]))"""
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("where", WIDTHS)
def test_the_page_draws(browser, page_url, where, dark):
    url = page_url("bert-int8")
    page = Page(browser, url, WIDTHS[where], dark)
    keep(page, f"{where}-{'dark' if dark else 'light'}")
    assert page.complaints() == []
    assert [u for u in page.requests() if not u.startswith("data:")] == [url]

    marks = drawn_plots(page)
    expected = {"errors": 12, "ranges": 50, "values": 40, "frontier": 4}
    assert set(marks) == set(expected)
    for section, fewest in expected.items():
        assert marks[section] >= fewest, (section, marks)
    sizes = page.evaluate(
        "[...document.querySelectorAll('section:not([hidden]) svg')].map((s) =>"
        " [s.getBoundingClientRect().width, s.getBoundingClientRect().height])"
    )
    assert len(sizes) > 5
    assert min(min(size) for size in sizes) > 0
    for section in marks:
        seen = look(browser, page.picture(f"#{section} .plot"))
        assert seen["colours"] > 8, (section, seen)
        assert 0.3 < seen["most"] < 0.995, (section, seen)

    # Nothing sticks out to the side, and light is lighter than dark.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = look(browser, page.picture("h1"))["corner"]
    assert ground < 60 if dark else ground > 200


LOUD = 7


@pytest.fixture(scope="module")
def loud(prepared):
    """Bundles of a model with a loud channel in the first layer's input: with
    a clip, with columns in FP16, and found by a search."""
    tensors = checkpoints.bert_tensors()
    tensors["embeddings.LayerNorm.weight"][LOUD] = 40
    files = checkpoints.bert() | {
        "model.safetensors": checkpoints.safetensors_bytes(tensors)
    }
    prepared.upload_checkpoint("loud", files)
    prepared.create_calibration("loud", "loud")
    rng = np.random.default_rng(9)
    sequences = [
        rng.integers(0, checkpoints.BERT["vocab_size"], n).tolist()
        for n in rng.integers(4, 20, 128)
    ]
    prepared.upload_texts("loud", sequences)
    for name, spec in {
        "loud-static": {
            "scheme": pb.SCHEME_W8A8_STATIC,
            "methods": pb.QuantizationMethods(
                calibrator=pb.CALIBRATOR_PERCENTILE, percentile=99.0
            ),
        },
        "loud-int8": {"scheme": pb.SCHEME_LLM_INT8},
        "loud-auto": {
            "policy": pb.POLICY_AUTO,
            "budget": pb.Budget(max_size_ratio=0.45),
        },
    }.items():
        operation = prepared.quantize("loud", name, "loud", **spec)
        assert operation.bundle == f"bundles/{name}", operation
    return prepared


def count(page: Page, selector: str) -> int:
    return page.evaluate(f"document.querySelectorAll('{selector}').length")


def facts_of(page: Page, layer: str) -> str:
    """What stands beside the histograms of a layer."""
    return page.evaluate(
        "((picker) => {"
        f"picker.value = {json.dumps(layer)};"
        "picker.dispatchEvent(new Event('change'));"
        "return document.querySelector('#values').innerText;"
        "})(document.getElementById('layer'))"
    )


def loud_channels(report) -> int:
    """Channels in the report that are outliers, as the page explains them."""
    return sum(
        channel.absmax >= (layer.outlier_threshold or 6)
        for layer in report.layers
        for channel in layer.activations.largest_channels
    )


@pytest.mark.parametrize("name", ["loud-static", "loud-int8"])
def test_outlier_channels_are_red(browser, page_url, loud, name):
    report = loud.report(name)
    page = Page(browser, page_url(name), 1200, False)
    keep(page, name)
    assert page.complaints() == []
    expected = loud_channels(report)
    first = report.layers[0].activations.largest_channels[0]
    assert first.channel == LOUD and expected > 0
    assert count(page, "#ranges .plot circle.outlier") == expected
    assert count(page, "#ranges .plot circle.channel") > 50
    # Red is on the picture, too.
    place = "#ranges .row:first-child circle.outlier"
    red = page.evaluate(
        f"getComputedStyle(document.querySelector('{place}')).fill"
    )
    r, g, b = map(int, re.findall(r"\d+", red)[:3])
    assert r > 1.5 * max(g, b), red
    if name == "loud-int8":
        share = report.layers[0].outlier_value_share
        facts = facts_of(page, report.layers[0].layer)
        assert "1 channels from |x| = 6" in facts
        assert f"{share * 100:.3g} %" in facts


def test_clips_are_drawn_where_there_are_some(browser, page_url, loud):
    report = loud.report("loud-static")
    inputs = [
        layer.activations
        for layer in report.layers
        if layer.activations.clip_min < layer.activations.clip_max
    ]
    assert len(inputs) == 8  # query, key and value share theirs
    assert all(one.clipped_share > 0 for one in inputs)
    page = Page(browser, page_url("loud-static"), 1200, False)
    facts = facts_of(page, report.layers[0].layer)
    assert count(page, "#ranges .plot line.clip") == len(inputs)
    assert count(page, "#activations line.clip") == 2
    # The outliers are beyond it.
    widths = page.evaluate(
        "[...document.querySelectorAll('#activations rect.beyond')]"
        ".map((r) => r.getBoundingClientRect().width)"
    )
    assert len(widths) == 2 and min(widths) > 5, widths
    share = 100 * inputs[0].clipped_share
    assert f"{share:.3g} % of the values are beyond it" in facts
    # Rows are scaled one by one without.
    page = Page(browser, page_url("loud-int8"), 1200, False)
    assert count(page, "#ranges .plot line.clip") == 0
    assert count(page, "#activations line.clip") == 0


@pytest.mark.parametrize("where", WIDTHS)
def test_what_a_search_found_is_drawn(browser, page_url, loud, where):
    report = loud.report("loud-auto")
    page = Page(browser, page_url("loud-auto"), WIDTHS[where], False)
    keep(page, f"{where}-searched")
    assert page.complaints() == []
    marks = drawn_plots(page)
    candidates = [c for layer in report.layers for c in layer.candidates]
    assert len(candidates) > 3 * len(report.layers)
    names = {candidate.name for candidate in candidates}
    shapes = count(page, "#errors .row .mark")
    assert shapes == len(candidates)
    assert count(page, "#errors .row .mark.chosen") == len(report.layers)
    legend = page.evaluate(
        "document.querySelector('#errors .legend').innerText"
    )
    assert names <= set(legend.split("\n"))
    assert len(report.frontier) > 3
    assert all(point.microseconds > 0 for point in report.frontier)
    assert marks["frontier"] == 2 * len(report.frontier)
    for plot in ("#by-size", "#by-time"):
        seen = look(browser, page.picture(plot))
        assert seen["colours"] > 8 and seen["most"] < 0.995, (plot, seen)


def test_a_fixed_plan_is_timed_beside_fp32(browser, page_url, prepared):
    report = prepared.report("bert-int8")
    assert report.policy == "fixed" and report.speed_rows > 0
    assert [point.name for point in report.frontier] == ["fp32", "this bundle"]
    assert all(point.microseconds > 0 for point in report.frontier)
    page = Page(browser, page_url("bert-int8"), 1200, False)
    assert count(page, "#by-time .mark") == 2


def test_choosing_a_layer_shows_its_values(browser, page_url):
    page = Page(browser, page_url("bert-int8"), 1200, False)
    before = page.picture("#weights")
    page.evaluate("document.getElementById('next').click()")
    assert page.picture("#weights") != before
    chosen = page.evaluate("document.getElementById('layer').value")
    row = "#errors .row:nth-child(2)"
    page.evaluate(
        f"document.querySelector('{row}').dispatchEvent(new Event('click'))"
    )
    assert page.evaluate("document.getElementById('layer').value") != chosen
    page.evaluate(f"document.querySelector('{row}').focus()")
    page.call("Input.dispatchKeyEvent", type="keyDown", key="Enter")
    focused = "document.activeElement.getAttribute('class')"
    assert page.evaluate(focused) == "row"
    # Sorting keeps every layer.
    rows = "document.querySelectorAll('#table tbody tr').length"
    count = page.evaluate(rows)
    page.evaluate("document.querySelector('#table th button').click()")
    assert page.evaluate(rows) == count == 12
    assert page.complaints() == []


def test_the_page_says_what_the_report_says(browser, page_url, prepared):
    report = prepared.report("bert-int8")
    page = Page(browser, page_url("bert-int8"), 1200, False)
    text = page.evaluate("document.body.innerText")
    assert report.summary in text
    for warning in report.warnings:
        assert warning in text
    for layer in report.layers:
        assert layer.layer in text
    assert f"{report.mean_row_cosine:.5f}" in text


def test_names_of_strangers_stay_text(browser, page_url, client):
    rng = np.random.default_rng(11)
    weight = rng.normal(0, 1, (16, 32)).astype(np.float32)
    files = checkpoints.linear_set() | {
        "model.safetensors": checkpoints.safetensors_bytes(
            {f"{HOSTILE}.weight": weight}
        )
    }
    client.upload_checkpoint("hostile", files)
    operation = client.quantize("hostile", "hostile-int8", "")
    assert operation.bundle == "bundles/hostile-int8", operation
    page = Page(browser, page_url("hostile-int8"), 1200, False)
    assert (
        page.evaluate("document.title") == "hostile-int8 - quantization report"
    )
    assert HOSTILE in page.evaluate("document.body.innerText")
    assert page.evaluate("document.querySelectorAll('b').length") == 0
    assert page.complaints() == []


def test_the_check_can_fail(browser, folder):
    """A page that asks, complains or draws nothing is found out."""
    path = folder / "bad.html"
    path.write_text(
        "<section id=a><div class=plot></div></section>"
        "<img src='missing.png'><script>nothing()</script>"
    )
    page = Page(browser, path.as_uri(), 1200, False)
    assert page.complaints()
    assert len(page.requests()) == 2
    assert drawn_plots(page) == {"a": 0}
