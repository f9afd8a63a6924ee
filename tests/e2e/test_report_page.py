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
    expected = {"errors": 12, "ranges": 50, "values": 40, "frontier": 2}
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


def searched(html: str) -> str:
    """The page of the same bundle, had the server searched for its plan: every
    layer was tried in three ways, and plans were compared by time as well."""
    block = r'(<script type="application/json" id="data">)(.*?)(</script>)'
    data = json.loads(re.search(block, html, re.S)[2])
    report = data["report"]
    for layer in report["layers"]:
        error = layer["output_error"]
        layer["candidates"] = [
            {
                "name": name,
                "scheme": layer["scheme"],
                "output_error": {**error, "sqnr_db": error["sqnr_db"] + gain},
                "stored_bytes": layer["stored_bytes"],
                "microseconds": 10.0 + gain,
                "chosen": gain == 0,
            }
            for name, gain in (("w8a8_dynamic", 0), ("gptq", 5), ("fp16", 30))
        ]
    report["frontier"] = [
        {
            "name": f"plan {i}",
            "stored_bytes": 10000 + 1000 * i,
            "relative_error": 0.1 * 0.5**i,
            "mean_row_cosine": 1 - 0.01 * 0.25**i,
            "microseconds": 100.0 + 20 * i,
            "measured": i % 2 == 0,
            "chosen": i == 2,
        }
        for i in range(8)
    ]
    text = json.dumps(data).replace("<", "\\u003c")
    return re.sub(block, lambda m: m[1] + text + m[3], html, flags=re.S)


@pytest.mark.parametrize("where", WIDTHS)
def test_what_a_search_found_is_drawn(browser, page_url, folder, where):
    plain = Page(browser, page_url("bert-int8"), WIDTHS[where], False)
    path = folder / "searched.html"
    path.write_text(searched((folder / "bert-int8.html").read_text()))
    page = Page(browser, path.as_uri(), WIDTHS[where], False)
    keep(page, f"{where}-searched")
    assert page.complaints() == []
    before, after = drawn_plots(plain), drawn_plots(page)
    assert after["errors"] == before["errors"] + 2 * 12
    assert after["frontier"] == 2 * 8
    legend = page.evaluate(
        "document.querySelector('#errors .legend').innerText"
    )
    assert {"w8a8_dynamic", "gptq", "fp16"} <= set(legend.split("\n"))
    for plot in ("#by-size", "#by-time"):
        seen = look(browser, page.picture(plot))
        assert seen["colours"] > 8 and seen["most"] < 0.995, (plot, seen)


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
