"""The main job on a real model: upload all-MiniLM-L6-v2, calibrate it on 256
real texts, quantize, load, serve. (test_quality.py judges the accuracy.)"""

import numpy as np
import pytest
import safetensors.numpy

from support import checkpoints, texts
from support.api import pb
from support.client import array, token_inputs

LAYERS_PER_BLOCK = 6
BLOCKS = 6
# Every value of a layer's weight, in FP32.
LINEAR_PARAMETERS = BLOCKS * (4 * 384 * 384 + 2 * 384 * 1536)


@pytest.fixture(scope="module")
def job(client, model_dir):
    """The whole flow, once; the tests look at what came of it."""
    checkpoint = client.upload_checkpoint(
        "minilm", checkpoints.from_directory(model_dir)
    )
    assert checkpoint.state == pb.Checkpoint.STATE_ACTIVE

    client.create_calibration("fortunes", "minilm")
    sequences = texts.tokenize(model_dir, texts.calibration_texts(256))
    client.upload_texts("fortunes", sequences)
    for bundle, scheme in (
        ("dynamic", pb.SCHEME_W8A8_DYNAMIC),
        ("static", pb.SCHEME_W8A8_STATIC),
        ("llm-int8", pb.SCHEME_LLM_INT8),
    ):
        operation = client.quantize("minilm", bundle, "fortunes", scheme=scheme)
        assert operation.state == pb.Operation.STATE_SUCCEEDED, operation
        client.load(bundle, f"bundles/{bundle}")
    client.load("fp32", "checkpoints/minilm")
    return client


def tensors_of(client, bundle):
    files = client.bundle_files(bundle)
    return safetensors.numpy.load(files["model.safetensors"])


def test_checkpoint_describes_the_model(job):
    checkpoint = job.get_checkpoint("minilm")
    assert checkpoint.family == "bert"
    assert len(checkpoint.layers) == BLOCKS * LAYERS_PER_BLOCK
    assert checkpoint.layers[0].name == "encoder.layer.0.attention.self.query"
    assert checkpoint.layers[4].in_features == 384
    assert checkpoint.layers[4].out_features == 1536
    assert 22_000_000 < checkpoint.parameter_count < 23_000_000
    assert all(f.received_bytes == f.size_bytes for f in checkpoint.files)


def test_calibration_saw_every_text_and_the_outlier_features(job):
    calibration = job.get_calibration("fortunes")
    assert calibration.sample_count == 256
    assert calibration.batch_count == 16
    assert len(calibration.layers) == BLOCKS * LAYERS_PER_BLOCK
    tokens = calibration.layers[0].row_count
    assert all(layer.row_count == tokens for layer in calibration.layers)
    for layer in calibration.layers:
        assert layer.min < 0 < layer.max
        assert layer.sigma > 0
        width = 1536 if ".output.dense" in layer.layer else 384
        width = 384 if "attention" in layer.layer else width
        assert sum(b.count for b in layer.histogram) == tokens * width
    # all-MiniLM-L6-v2 has a few columns beyond 6 in its FFN-up inputs.
    up = [c for c in calibration.layers if "intermediate" in c.layer]
    assert all(1 <= layer.outlier_count < 40 for layer in up)
    assert max(o.absmax for layer in up for o in layer.outliers) > 12


def test_fp32_forward_agrees_with_onnx_runtime(job, reference, held_out):
    sequences = held_out[:32]
    hidden, embeddings = reference.run(sequences)
    ours = job.embed_all("fp32", sequences)
    assert np.abs(ours - embeddings).max() < 1e-4
    states = np.concatenate(
        [
            job.embed("fp32", [s], output=pb.OUTPUT_KIND_HIDDEN_STATES)
            for s in sequences
        ]
    )
    assert np.abs(states - hidden).max() < 1e-4


@pytest.mark.parametrize("bundle", ["dynamic", "static", "llm-int8"])
def test_linear_weights_take_about_a_quarter(job, bundle):
    report = job.report(bundle)
    assert report.linear_float_bytes == 4 * LINEAR_PARAMETERS
    assert report.linear_stored_bytes <= 0.26 * report.linear_float_bytes
    # Not only what the report says: what the file holds.
    stored = sum(
        value.nbytes
        for name, value in tensors_of(job, bundle).items()
        if value.dtype == np.int8
        or name.endswith((".weight_scale", ".outlier_weight"))
    )
    assert stored <= 0.26 * 4 * LINEAR_PARAMETERS


@pytest.mark.parametrize("bundle", ["dynamic", "static", "llm-int8"])
def test_report_says_what_quantization_did(job, bundle):
    report = job.report(bundle)
    assert len(report.layers) == BLOCKS * LAYERS_PER_BLOCK
    for layer in report.layers:
        assert layer.scheme in (
            pb.SCHEME_W8A8_DYNAMIC,
            pb.SCHEME_W8A8_STATIC,
            pb.SCHEME_LLM_INT8,
        )
        # 8 bits per channel of bell-shaped weights: 35 to 50 dB.
        assert 30 < layer.weight_error.sqnr_db < 60, layer.layer
        assert layer.weight_error.cosine > 0.999
        assert layer.weight_error.max_error > 0
        assert layer.output_rows > 0
        assert layer.output_error.cosine > 0.98, layer.layer
    assert report.model_rows > 0
    assert 0.95 < report.mean_row_cosine <= 1
    assert report.worst_row_cosine <= report.mean_row_cosine
    assert report.bundle_bytes < report.checkpoint_bytes
    columns = sum(layer.outlier_columns for layer in report.layers)
    assert (columns > 0) == (bundle == "llm-int8")


def test_bundle_is_what_octet_json_and_the_design_say(job, model_dir):
    weights = safetensors.numpy.load_file(model_dir / "model.safetensors")
    stored = tensors_of(job, "dynamic")
    for name in [n for n in stored if n.endswith(".weight_scale")]:
        weight = name.removesuffix("_scale")
        w = weights[weight]
        absmax = np.abs(w).max(axis=1, keepdims=True)
        scale = (absmax / np.float32(127)).astype(np.float32)
        np.testing.assert_array_equal(stored[name], scale)
        codes = np.clip(np.rint(w / scale), -127, 127).astype(np.int8)
        np.testing.assert_array_equal(stored[weight], codes)


def test_matmul_is_the_dequantized_product(job):
    """y = (codes of x * row scale) (codes of W * channel scale)^T + b."""
    stored = tensors_of(job, "dynamic")
    layer = "encoder.layer.2.intermediate.dense"
    rng = np.random.default_rng(11)
    x = rng.normal(0, 1, (37, 384)).astype(np.float32)
    row_scale = (np.abs(x).max(axis=1, keepdims=True) / np.float32(127)).astype(
        np.float32
    )
    # The kernel multiplies by the reciprocal where this divides: a value right
    # between two codes may go either way, worth one code.
    codes = np.clip(np.rint(x / row_scale), -127, 127)
    w = stored[f"{layer}.weight"].astype(np.float64)
    w_scale = stored[f"{layer}.weight_scale"].astype(np.float64).T
    bias = stored[f"{layer}.bias"].astype(np.float64)
    expected = codes @ w.T * row_scale * w_scale + bias
    y = job.matmul("dynamic", layer, x)
    one_code = 127 * row_scale.astype(np.float64) * w_scale
    assert (np.abs(y - expected) <= one_code * 1.01 + 1e-4).all()
    exact = np.abs(y - expected) < 1e-4
    assert exact.mean() > 0.95


def test_fp32_matmul_is_the_product(job, model_dir):
    weights = safetensors.numpy.load_file(model_dir / "model.safetensors")
    layer = "encoder.layer.0.attention.self.query"
    x = np.random.default_rng(3).normal(0, 1, (5, 384)).astype(np.float32)
    expected = (
        x.astype(np.float64) @ weights[f"{layer}.weight"].astype(np.float64).T
        + weights[f"{layer}.bias"]
    )
    np.testing.assert_allclose(
        job.matmul("fp32", layer, x), expected, atol=1e-4
    )


def test_stream_matmul_answers_in_order(job):
    layer = "encoder.layer.0.attention.self.query"
    rng = np.random.default_rng(5)
    xs = [rng.normal(0, 1, (n, 384)).astype(np.float32) for n in (1, 7, 3)]

    def requests():
        for i, x in enumerate(xs):
            yield pb.StreamMatMulRequest(
                id=str(i),
                request=pb.MatMulRequest(
                    model="models/dynamic",
                    layer=layer,
                    x=pb.Tensor(
                        type=pb.DATA_TYPE_F32, shape=x.shape, data=x.tobytes()
                    ),
                ),
            )

    answers = list(job.inference.StreamMatMul(requests(), timeout=60))
    assert [a.id for a in answers] == ["0", "1", "2"]
    for x, answer in zip(xs, answers, strict=True):
        np.testing.assert_array_equal(
            array(answer.response.y), job.matmul("dynamic", layer, x)
        )


def test_answers_carry_timings(job, held_out):
    response = job.forward_response("dynamic", token_inputs(held_out[:4]))
    timings = response.timings
    assert timings.total.ToNanoseconds() > 0
    assert timings.dot.ToNanoseconds() > 0
    assert timings.quantize.ToNanoseconds() > 0
    assert timings.dequantize.ToNanoseconds() > 0
    assert timings.queue.ToNanoseconds() <= timings.total.ToNanoseconds()


def test_half_precision_output(job, held_out):
    full = job.embed("dynamic", held_out[:3])
    half = job.embed("dynamic", held_out[:3], output_type=pb.DATA_TYPE_F16)
    np.testing.assert_array_equal(half, full.astype(np.float16))


def test_bundle_survives_the_wire(job, held_out):
    tar = job.download_bundle("dynamic")
    bundle = job.upload_bundle("copy", tar)
    assert bundle.name == "bundles/copy"
    job.load("copy", "bundles/copy")
    np.testing.assert_array_equal(
        job.embed("copy", held_out[:8]), job.embed("dynamic", held_out[:8])
    )


def test_progress_is_streamed_per_layer(job):
    operation = job.start_quantization("minilm", "watched", "fortunes")
    updates = list(job.watch(operation.name))
    assert updates[-1].state == pb.Operation.STATE_SUCCEEDED
    running = [u for u in updates if u.state == pb.Operation.STATE_RUNNING]
    steps = [u.progress.done_steps for u in running]
    assert steps == sorted(steps)
    assert len({u.progress.layer for u in running}) > BLOCKS
    assert updates[-1].bundle == "bundles/watched"


def test_cancelled_quantization_leaves_nothing_behind(job):
    operation = job.start_quantization("minilm", "never", "fortunes")
    job.quantization.CancelOperation(
        pb.CancelOperationRequest(name=operation.name), timeout=30
    )
    *_, last = job.watch(operation.name)
    assert last.state == pb.Operation.STATE_CANCELLED
    bundles = job.bundles.ListBundles(pb.ListBundlesRequest(), timeout=30)
    assert "bundles/never" not in [b.name for b in bundles.bundles]
    # The id is free again.
    again = job.quantize("minilm", "never", "fortunes")
    assert again.state == pb.Operation.STATE_SUCCEEDED


def test_layers_can_be_left_float(job):
    operation = job.quantize(
        "minilm",
        "mixed",
        "fortunes",
        exclude=["encoder.layer.*.output.dense"],
        keep_first=True,
        float_scheme=pb.SCHEME_BF16,
    )
    assert operation.state == pb.Operation.STATE_SUCCEEDED, operation
    schemes = {
        layer.layer: layer.scheme for layer in job.report("mixed").layers
    }
    assert schemes["encoder.layer.5.output.dense"] == pb.SCHEME_BF16
    for part in ("query", "key", "value"):
        first = f"encoder.layer.0.attention.self.{part}"
        assert schemes[first] == pb.SCHEME_BF16
    later = "encoder.layer.1.attention.self.query"
    assert schemes[later] == pb.SCHEME_W8A8_DYNAMIC
