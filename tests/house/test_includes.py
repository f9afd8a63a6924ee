"""Includes point one way. docs/architecture.md draws the arrows."""

import pytest

from house import ARROWS, KNOWS_RPC, ROOT, tracked_files, wrong_includes

SOURCES = [
    name
    for name in tracked_files("*.h", "*.cc")
    if not name.startswith("tests/")
]


def test_there_are_sources_to_look_at():
    assert len(SOURCES) > 50


def test_no_include_runs_against_the_arrows():
    wrong = [
        sentence
        for name in SOURCES
        for sentence in wrong_includes(name, (ROOT / name).read_text())
    ]
    assert not wrong, "\n".join(wrong)


def test_arrows_have_no_cycle():
    seen: dict[str, bool] = {}

    def visit(room, path):
        assert room not in path, f"{' -> '.join(path)} -> {room}"
        if room in seen:
            return
        for other in ARROWS[room]:
            visit(other, (*path, room))
        seen[room] = True

    for room in ARROWS:
        visit(room, ())


@pytest.mark.parametrize(
    ("path", "include"),
    [
        ("kernels/int8_linear.cc", '#include "server/model/graph.h"'),
        ("kernels/half.h", "#include <grpcpp/grpcpp.h>"),
        ("kernels/half.h", "#include <google/protobuf/message.h>"),
        ("server/model/model.cc", '#include "server/bundle/bundle.h"'),
        ("server/bundle/bundle.cc", '#include "server/serving/work_queue.h"'),
        (
            "server/serving/x.cc",
            '#include "server/quantization/job/operations.h"',
        ),
        ("server/quantization/job/x.cc", '#include "octet/v1/tensor.pb.h"'),
        (
            "server/quantization/methods/x.cc",
            '#include "server/quantization/planning/planner.h"',
        ),
        ("server/telemetry/x.cc", '  #  include "server/rpc/calls/status.h"'),
        ("client/lib/x.cc", '#include "server/bundle/upload.h"'),
    ],
)
def test_the_check_can_fail(path, include):
    assert wrong_includes(path, f"#include <vector>\n{include}\n")


@pytest.mark.parametrize(
    ("path", "include"),
    [
        ("server/rpc/x.cc", '#include "server/serving/work_queue.h"'),
        ("server/rpc/x.cc", '#include "octet/v1/tensor.pb.h"'),
        ("server/model/x.cc", '#include "kernels/half.h"'),
        ("server/model/x.cc", '#include "server/model/graph.h"'),
        ("client/cli/x.cc", '#include "client/lib/connection.h"'),
    ],
)
def test_the_check_lets_the_arrows_pass(path, include):
    assert not wrong_includes(path, f"{include}\n")


def test_only_the_edges_know_grpc():
    assert {
        "server/rpc",
        "server/rpc/calls",
        "server/rpc/oip",
        "server/rpc/resources",
        "server/rpc/security",
        "server/rpc/wire",
        "server",
        "client/lib",
        "client/cli",
    } == KNOWS_RPC
