"""Flags that make no sense are refused before anything listens."""

import subprocess

import pytest

from support.paths import binary


def refusal(*flags):
    """What octet-server says to flags, which it must not accept."""
    answer = subprocess.run(
        [binary("octet-server"), *flags],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert answer.returncode == 2, answer.stderr
    return answer.stderr


@pytest.mark.parametrize(
    "flag",
    [
        "--batch-wait-ms",
        "--drain-seconds",
        "--grace-seconds",
        "--slow-request-seconds",
        "--max-connection-idle-seconds",
        "--max-connection-age-seconds",
    ],
)
@pytest.mark.parametrize("value", ["nan", "-1", "inf", "soon"])
def test_a_duration_is_a_number_within_its_range(flag, value):
    assert f"{value} not in range" in refusal(f"{flag}={value}")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.1:99999", "a port of 0 to 65535"),
        ("127.0.0.1:-1", "a port of 0 to 65535"),
        ("127.0.0.1:", "a port of 0 to 65535"),
        ("127.0.0.1", "is not HOST:PORT"),
        ("8001", "is not HOST:PORT"),
        (":8001", "is not HOST:PORT"),
        ("::1:8001", "stands in brackets"),
    ],
)
def test_an_address_has_a_host_and_a_port(address, says):
    for flag in ("--grpc-address", "--metrics-address"):
        assert says in refusal(f"{flag}={address}")


def test_metrics_know_neither_ipv6_nor_paths():
    assert "IPv4 alone" in refusal("--metrics-address=[::1]:0")
    assert "is not HOST:PORT" in refusal("--metrics-address=unix:/tmp/x")


def test_an_upload_has_to_be_allowed_some_bytes():
    assert "Value 0 not in range 1 to " in refusal("--max-upload-bytes=0")
