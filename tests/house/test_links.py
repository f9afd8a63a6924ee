"""The link lines of the CMake targets are the diagram of the house."""

import re

import pytest

from house import ARROWS, ROOT, TARGETS

_LIBRARY = re.compile(r"octet_library\(\s*(octet_\w+)([^)]*)\)")
_LINK = re.compile(r"target_link_libraries\(\s*(octet_\w+)([^)]*)\)")


def link_lines(text: str) -> dict[str, set[str]]:
    """Our targets that each target of a CMakeLists.txt links."""
    links: dict[str, set[str]] = {}
    for pattern in (_LIBRARY, _LINK):
        for target, rest in pattern.findall(text):
            used = set(re.findall(r"\boctet_\w+", rest)) & set(TARGETS)
            links.setdefault(target, set()).update(used)
    return links


def wrong_links(text: str) -> list[str]:
    wrong = []
    for target, used in link_lines(text).items():
        if target not in TARGETS:
            continue
        room = TARGETS[target]
        for other in used - {target}:
            if TARGETS[other] not in ARROWS[room]:
                wrong.append(f"{target} must not link {other}")
    return wrong


@pytest.mark.parametrize("target", TARGETS)
def test_links_follow_the_arrows(target):
    text = (ROOT / TARGETS[target] / "CMakeLists.txt").read_text()
    assert target in text, f"{TARGETS[target]}/CMakeLists.txt: no {target}"
    assert not wrong_links(text)


def test_the_check_can_fail():
    assert wrong_links(
        "octet_library(octet_model SOURCES graph.cc DEPS octet_kernels\n"
        "  PRIVATE_DEPS octet_bundle)"
    )
    assert wrong_links(
        "target_link_libraries(octet_kernels PUBLIC octet_proto)"
    )
    assert not wrong_links("octet_library(octet_model DEPS octet_kernels)")
