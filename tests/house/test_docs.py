"""Links in Markdown files lead somewhere, and no file speaks of the machine
it was written on."""

import re

import pytest

from house import ROOT, tracked_files

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+\s+(.+?)\s*$", re.MULTILINE)

# Paths of the machines we work on; and where packages come from there.
_MACHINE = re.compile(
    r"(?<![\w.])/(?:work|root|home/\w+|tmp/w)/"
    r"|registry\.npmjs\.org|files\.pythonhosted\.org|pypi\.org/simple"
    r"|(?:deb|security)\.debian\.org|static\.crates\.io|proxy\.golang\.org"
)
_TEXT = (
    ".cc",
    ".cmake",
    ".h",
    ".json",
    ".md",
    ".proto",
    ".py",
    ".sh",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
)


def anchor(heading: str) -> str:
    """As GitHub makes them."""
    text = re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def broken_links(name: str, text: str) -> list[str]:
    broken = []
    for match in _LINK.finditer(_FENCE.sub("", text)):
        target = match.group(1) or match.group(2)
        if re.match(r"^[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        if not file.exists():
            broken.append(f"{name}: {target} does not exist")
        elif fragment and file.suffix == ".md":
            headings = _HEADING.findall(_FENCE.sub("", file.read_text()))
            if fragment not in map(anchor, headings):
                broken.append(f"{name}: {target}: no such heading")
    return broken


def machine_talk(text: str) -> list[str]:
    return [match.group() for match in _MACHINE.finditer(text)]


@pytest.mark.parametrize("name", tracked_files("*.md"))
def test_links_lead_somewhere(name):
    assert not broken_links(name, (ROOT / name).read_text())


def test_no_file_speaks_of_a_machine():
    this = "tests/house/test_docs.py"
    wrong = []
    for name in tracked_files():
        path = ROOT / name
        known = path.suffix in _TEXT or path.name in (
            "Dockerfile",
            "CMakeLists.txt",
            "run",
        )
        if known and name != this:
            found = machine_talk(path.read_text(errors="replace"))
            wrong += [f"{name}: {word}" for word in found]
    assert not wrong, "\n".join(wrong)


def test_the_checks_can_fail():
    assert broken_links("README.md", "[there](docs/no-such-file.md)")
    assert broken_links("README.md", "![picture](no-such-picture.svg)")
    assert not broken_links("README.md", "[licence](LICENSE)")
    assert not broken_links("README.md", "```\n[code](nowhere)\n```\n")
    assert machine_talk("see /" + "work/main for it")
    assert machine_talk("curl https://" + "registry.npmjs.org/x")
    assert not machine_talk("framework/main, not/root/x, /usr/share/games")
