"""The main job on a small model, against a real server."""

import grpc
import numpy as np
import pytest


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    return rng.normal(0, 1, (160, 48)).astype(np.float32)


@pytest.fixture(scope="module")
def job(server, mlp, rows):
    """Uploaded, calibrated, quantized and served, once."""
    import octet_client

    directory, _ = mlp
    with octet_client.Client(server) as client:
        client.upload_checkpoint(directory, "mlp")
        client.create_calibration("rows", "mlp")
        client.calibrate("rows", [rows[:100], rows[100:]])
        states = []
        client.quantize(
            "mlp",
            "mlp-int8",
            calibration="rows",
            scheme="llm_int8",
            outlier_threshold=2.5,
            progress=lambda operation: states.append(operation.state),
        )
        assert states
        client.load("mlp-int8", "bundles/mlp-int8")
        client.load("mlp", "checkpoints/mlp")
    return server


def test_calibration_counts_what_was_streamed(job, client):
    calibration = client.get_calibration("rows")
    assert calibration.sample_count == 160
    assert calibration.batch_count == 2
    assert [layer.layer for layer in calibration.layers] == ["fc1", "fc2"]


def test_calibration_travels_as_a_file(job, client, tmp_path):
    file = tmp_path / "rows.calibration"
    client.download_calibration("rows", file)
    with pytest.raises(FileExistsError):
        client.download_calibration("rows", file)
    copy = client.upload_calibration(file, "copy", checkpoint="mlp")
    original = client.get_calibration("rows", channels=True)
    assert copy.sample_count == original.sample_count
    assert len(original.layers[0].channel_max) == 48
    assert client.get_calibration("copy", channels=True).layers == (
        original.layers
    )
    client.delete_calibration("copy")


def test_fp32_forward_is_the_model(job, client, mlp, rows):
    _, w = mlp
    hidden = np.maximum(rows @ w["fc1.weight"].T + w["fc1.bias"], 0)
    expected = hidden @ w["fc2.weight"].T + w["fc2.bias"]
    y = client.forward("mlp", features=rows)
    np.testing.assert_allclose(y, expected, atol=1e-4)


def test_int8_forward_and_matmul_are_close_to_fp32(job, client, rows):
    for exact, y in (
        (
            client.forward("mlp", features=rows),
            client.forward("mlp-int8", features=rows),
        ),
        (
            client.matmul("mlp", "fc1", rows),
            client.matmul("mlp-int8", "fc1", rows),
        ),
    ):
        assert y.shape == exact.shape
        error = np.linalg.norm(y - exact) / np.linalg.norm(exact)
        assert 0 < error < 0.02


def test_a_stream_of_products_comes_back_in_order(job, client, rows):
    import octet_client

    xs = [rows[: 1 + i % 4] for i in range(60)]
    xs[7] = rows[:2, :-1]
    answers = list(client.stream_matmul("mlp-int8", "fc1", iter(xs)))
    assert len(answers) == len(xs)
    wrong = answers.pop(7)
    assert isinstance(wrong, octet_client.OctetError)
    assert wrong.field_violations[0].field == "request.x"
    del xs[7]
    for x, answer in zip(xs, answers):
        np.testing.assert_array_equal(
            answer, client.matmul("mlp-int8", "fc1", x)
        )


def test_a_stream_that_is_left_early_ends(job, client, rows):
    stream = client.stream_matmul("mlp-int8", "fc1", (rows for _ in range(500)))
    next(stream)
    stream.close()
    assert client.matmul("mlp-int8", "fc1", rows).shape[0] == len(rows)


def test_timings_add_up(job, client, rows):
    _, timings = client.timed_matmul("mlp-int8", "fc1", rows)
    assert timings.total > 0
    assert timings.dot > 0
    assert timings.queue <= timings.total


def test_report_and_stats(job, client):
    report = client.report("mlp-int8")
    assert [layer.layer for layer in report.layers] == ["fc1", "fc2"]
    assert 0.99 < report.mean_row_cosine < 1.0001
    assert report.summary in client.report_page("mlp-int8")
    assert client.model_stats("mlp-int8").name == "models/mlp-int8"


def test_a_bundle_goes_out_and_comes_back(job, client, tmp_path, rows):
    client.download_bundle("mlp-int8", tmp_path / "b.tar")
    client.download_bundle("mlp-int8", tmp_path / "b", unpack=True)
    assert (tmp_path / "b" / "octet.json").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "b.tar"]
    with pytest.raises(FileExistsError):
        client.download_bundle("mlp-int8", tmp_path / "b.tar")
    client.upload_bundle(tmp_path / "b.tar", "copy")
    client.load("copy", "bundles/copy")
    np.testing.assert_array_equal(
        client.forward("copy", features=rows),
        client.forward("mlp-int8", features=rows),
    )
    client.unload("copy")
    client.delete_bundle("copy")


def test_downloads_touch_no_file_but_theirs(job, client, tmp_path):
    """Not even what an interrupted download of an earlier version left."""
    import octet_client

    left = tmp_path / "b.part"
    left.mkdir()
    (left / "stale.safetensors").write_text("stale")
    (tmp_path / "b.part.tar").write_text("mine")
    client.download_bundle("mlp-int8", tmp_path / "b", unpack=True)
    assert not (tmp_path / "b" / "stale.safetensors").exists()
    assert (left / "stale.safetensors").exists()
    assert (tmp_path / "b.part.tar").read_text() == "mine"
    with pytest.raises(octet_client.OctetError):
        client.download_bundle("nowhere", tmp_path / "c", unpack=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "b",
        "b.part",
        "b.part.tar",
    ]


def test_errors_name_what_is_wrong(job, client):
    import octet_client

    with pytest.raises(octet_client.OctetError) as caught:
        client.load("x", "bundles/nowhere")
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    assert "nowhere" in caught.value.message
    with pytest.raises(octet_client.OctetError) as caught:
        client.forward("mlp", features=np.zeros((1, 47), np.float32))
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.field_violations


def test_an_error_of_the_caller_while_streaming_is_the_callers(job, client):
    def batches():
        yield np.zeros((1, 48), np.float32)
        raise RuntimeError("the data set is broken")

    client.create_calibration("broken", "mlp")
    with pytest.raises(RuntimeError, match="broken"):
        client.calibrate("broken", batches())
    with pytest.raises(RuntimeError, match="broken"):
        list(client.stream_matmul("mlp", "fc1", batches()))


def test_a_file_that_is_not_there_is_said(job, client, tmp_path):
    with pytest.raises(FileNotFoundError):
        client.upload_bundle(tmp_path / "none.tar", "none")
    with pytest.raises(FileNotFoundError):
        client.upload_calibration(tmp_path / "none", "none", checkpoint="mlp")
