"""Live traffic into a calibration, by the Python client."""

import numpy as np


def test_a_capture_ends_by_itself_or_when_asked(client, mlp):
    directory, _ = mlp
    rows = np.random.default_rng(1).normal(0, 1, (5, 48)).astype(np.float32)
    client.upload_checkpoint(directory, "captured")
    client.load("captured", "checkpoints/captured")
    client.create_calibration("live", "captured")

    client.start_capture("live", "captured", max_samples=8)
    client.forward("captured", features=rows)
    client.forward("captured", features=rows)
    found = client.wait_for_capture("live")
    assert found.sample_count == found.capture.taken_samples == 8
    assert "8 samples" in found.capture.state_reason

    started = client.start_capture(
        "live", "captured", rate=0.5, max_seconds=90.5
    )
    capture = started.capture
    lasts = capture.end_time.ToDatetime() - capture.start_time.ToDatetime()
    assert lasts.total_seconds() == 90.5
    assert "stopped" in client.stop_capture("live").capture.state_reason

    client.unload("captured")
    client.delete_calibration("live")
    client.delete_checkpoint("captured")
