"""Calibrations over the wire: what they tell, and how those of several servers
become one."""

import contextlib

import grpc
import numpy as np
import pytest

from support import checkpoints
from support.api import pb
from support.client import (
    CHUNK,
    Client,
    crc32c,
    feature_inputs,
    token_inputs,
)

CALIBRATORS = [
    pb.CALIBRATOR_MIN_MAX,
    pb.CALIBRATOR_MOVING_AVERAGE,
    pb.CALIBRATOR_PERCENTILE,
    pb.CALIBRATOR_ENTROPY,
    pb.CALIBRATOR_MSE,
]


def sequences(seed, count=40):
    rng = np.random.default_rng(seed)
    vocabulary = checkpoints.BERT["vocab_size"]
    return [
        rng.integers(0, vocabulary, n).tolist()
        for n in rng.integers(1, 20, count)
    ]


def create(client, name, **options):
    return client.calibrations.CreateCalibration(
        pb.CreateCalibrationRequest(
            calibration_id=name,
            checkpoint="checkpoints/bert",
            options=pb.CalibrationOptions(**options),
        ),
        timeout=client.timeout,
    )


def download(client, name):
    data = bytearray()
    for piece in client.calibrations.DownloadCalibration(
        pb.DownloadCalibrationRequest(name=f"calibrations/{name}"),
        timeout=client.timeout,
    ):
        assert piece.offset == len(data)
        assert piece.crc32c == crc32c(piece.data)
        data += piece.data
        total = piece.total_bytes
    assert total == len(data)
    return bytes(data)


def upload(client, name, data, checkpoint="bert"):
    def messages():
        yield pb.UploadCalibrationRequest(
            header=pb.UploadCalibrationHeader(
                calibration_id=name, checkpoint=f"checkpoints/{checkpoint}"
            )
        )
        for offset in range(0, len(data), CHUNK):
            piece = data[offset : offset + CHUNK]
            yield pb.UploadCalibrationRequest(
                chunk=pb.CalibrationChunk(
                    offset=offset, data=piece, crc32c=crc32c(piece)
                )
            )

    return client.calibrations.UploadCalibration(
        messages(), timeout=client.timeout
    )


def get(client, name, channels=False):
    return client.calibrations.GetCalibration(
        pb.GetCalibrationRequest(
            name=f"calibrations/{name}", channels=channels
        ),
        timeout=client.timeout,
    )


def merge(client, into, *names):
    request = pb.MergeCalibrationsRequest(into=f"calibrations/{into}")
    getattr(request, "from").extend(f"calibrations/{name}" for name in names)
    return client.calibrations.MergeCalibrations(
        request, timeout=client.timeout
    )


@contextlib.contextmanager
def refused(code, text):
    with pytest.raises(grpc.RpcError) as caught:
        yield
    assert caught.value.code() == code
    assert text in caught.value.details()


@pytest.fixture(scope="module")
def bert(client):
    client.upload_checkpoint("bert", checkpoints.bert())
    return client


def test_calibrations_of_two_servers_merge_to_what_one_would_be(
    bert, start_server
):
    batches = [token_inputs(sequences(seed)) for seed in range(6)]
    create(bert, "all", kept_rows=50, seed=3)
    bert.upload_batches("all", batches)
    with Client(start_server().address) as other:
        other.upload_checkpoint("bert", checkpoints.bert())
        create(other, "part", kept_rows=50, seed=3)
        other.upload_batches("part", [batches[i] for i in (4, 0)])
        exported = download(other, "part")
    create(bert, "here", kept_rows=50, seed=3)
    bert.upload_batches("here", [batches[i] for i in (5, 2, 1, 3)])

    came = upload(bert, "from-other", exported)
    assert came.sample_count == 80
    assert came.checkpoint == "checkpoints/bert"
    merge(bert, "here", "from-other")

    one, merged = get(bert, "all", True), get(bert, "here", True)
    assert merged.sample_count == one.sample_count == 240
    assert merged.duplicate_sample_count == one.duplicate_sample_count
    assert len(merged.layers) == len(one.layers) == 12
    for ours, theirs in zip(merged.layers, one.layers, strict=True):
        assert ours.row_count == theirs.row_count
        assert (ours.min, ours.max) == (theirs.min, theirs.max)
        assert ours.histogram == theirs.histogram
        assert ours.channel_min == theirs.channel_min
        assert ours.channel_max == theirs.channel_max
        assert ours.kept_row_count == theirs.kept_row_count == 50
        assert ours.mean == pytest.approx(theirs.mean, abs=1e-12)
    # The same rows and samples were kept, too.
    kept = {}
    for name in ("all", "here"):
        result = bert.quantize("bert", f"from-{name}", name)
        assert result.state == pb.Operation.STATE_SUCCEEDED, result
        kept[name] = bert.report(f"from-{name}")
    assert kept["all"].worst_row_cosine == kept["here"].worst_row_cosine
    for name in ("output_error", "output_rows"):
        errors = [
            [getattr(layer, name) for layer in kept[one].layers]
            for one in ("all", "here")
        ]
        assert errors[0] == errors[1]


def test_get_tells_what_each_calibrator_would_choose(bert):
    create(bert, "choices")
    bert.upload_batches("choices", [token_inputs(sequences(1))])
    calibration = bert.get_calibration("choices")
    for layer in calibration.layers:
        assert [c.calibrator for c in layer.choices] == CALIBRATORS
        min_max, *_, mse = layer.choices
        assert (min_max.min, min_max.max) == (layer.min, layer.max)
        assert min_max.clipped_share == 0
        for choice in layer.choices:
            assert layer.min <= choice.min <= 0 <= choice.max <= layer.max
            assert choice.sqnr_db <= mse.sqnr_db + 0.05  # a search, not a proof
        assert len(layer.channel_min) == 0
        assert len(layer.histogram) <= 128
        assert layer.histogram[0].lower_bound <= layer.min
        assert layer.histogram[-1].upper_bound >= layer.max
    query, key, value = calibration.layers[:3]
    assert query.input == key.input == value.input == query.layer


def test_near_duplicates_and_few_samples_are_warned_of(bert):
    texts = [sequence for sequence in sequences(8, 200) if len(sequence) > 15]
    again = [[*text[:-1], (text[-1] + 1) % 30] for text in texts]
    create(bert, "near")
    bert.upload_batches("near", [token_inputs(texts), token_inputs(again)])
    calibration = bert.get_calibration("near")
    assert calibration.duplicate_sample_count == 0
    assert calibration.near_duplicate_sample_count >= 0.9 * len(texts)
    few, near, *_ = calibration.warnings
    assert "few" in few
    assert "near duplicates" in near


def test_how_much_is_kept_is_for_the_flag_and_the_request_to_say(start_server):
    server = start_server(None, "--calibration-rows=7")
    with Client(server.address) as client:
        client.upload_checkpoint("bert", checkpoints.bert())
        create(client, "by-flag")
        client.upload_batches("by-flag", [token_inputs(sequences(1))])
        calibration = client.get_calibration("by-flag")
        assert calibration.options.kept_rows == 7
        assert {layer.kept_row_count for layer in calibration.layers} == {7}
        asked = create(client, "by-request", kept_rows=9, kept_samples=2)
        assert asked.options.kept_rows == 9
        assert asked.options.kept_samples == 2
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "options.kept_rows"):
            create(client, "too-much", kept_rows=1_000_000)


def test_whole_samples_are_kept_by_the_flag_to_measure_the_model_on(
    start_server,
):
    server = start_server(None, "--calibration-samples=3")
    rows = np.random.default_rng(4).normal(0, 1, (20, 48)).astype(np.float32)
    with Client(server.address) as client:
        client.upload_checkpoint("mlp", checkpoints.mlp())
        client.create_calibration("mlp", "mlp")
        client.upload_batches("mlp", [feature_inputs(rows)])
        options = client.get_calibration("mlp").options
        assert options.kept_samples == 3
        job = client.quantize("mlp", "measured", "mlp")
        assert job.state == pb.Operation.STATE_SUCCEEDED, job
        assert client.report("measured").model_rows == 3


def test_what_cannot_be_uploaded_says_why(bert):
    create(bert, "good")
    bert.upload_batches("good", [token_inputs(sequences(1))])
    data = download(bert, "good")
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    with refused(grpc.StatusCode.ALREADY_EXISTS, "'good'"):
        upload(bert, "good", data)
    with refused(invalid, "is damaged"):
        upload(bert, "cut", data[:-9])
    with refused(invalid, "is damaged"):
        upload(bert, "noise", b"no calibration at all")
    bert.upload_checkpoint("other", checkpoints.mlp())
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "other weights"):
        upload(bert, "wrong", data, checkpoint="other")
    with refused(grpc.StatusCode.NOT_FOUND, "nowhere"):
        upload(bert, "lost", data, checkpoint="nowhere")
    with refused(grpc.StatusCode.NOT_FOUND, "nothing"):
        download(bert, "nothing")
    # Nothing of it is left.
    listed = bert.calibrations.ListCalibrations(pb.ListCalibrationsRequest())
    names = {calibration.name for calibration in listed.calibrations}
    assert not names & {
        f"calibrations/{name}" for name in ("cut", "noise", "wrong", "lost")
    }


def test_a_calibration_is_of_the_weights_not_of_their_name(client):
    client.upload_checkpoint("swapped", checkpoints.bert())
    client.create_calibration("swapped", "swapped")
    client.upload_batches("swapped", [token_inputs(sequences(1))])
    client.checkpoints.DeleteCheckpoint(
        pb.DeleteCheckpointRequest(name="checkpoints/swapped")
    )
    client.upload_checkpoint("swapped", checkpoints.bert(seed=4))
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "other weights"):
        client.upload_batches("swapped", [token_inputs(sequences(2))])
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "other weights"):
        client.quantize("swapped", "of-other-weights", "swapped")


def test_calibrations_with_different_seeds_do_not_merge(bert):
    create(bert, "seed-1", seed=1)
    create(bert, "seed-2", seed=2)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "seed"):
        merge(bert, "seed-1", "seed-2")
