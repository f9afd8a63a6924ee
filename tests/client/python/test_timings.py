"""The server's durations, which have nanoseconds."""

import pytest


def test_a_phase_shorter_than_a_microsecond_counts():
    from octet_client._protocol import messages
    from octet_client.client import Timings

    message = messages.Timings()
    message.dequantize.nanos = 300
    message.total.seconds, message.total.nanos = 1, 500
    timings = Timings.of(message)
    assert timings.dequantize == pytest.approx(300e-9)
    assert timings.total == pytest.approx(1 + 500e-9)
    assert timings.queue == 0
