"""A row's result does not depend on its neighbours in the batch, bit for bit,
through the API, for every scheme and on any number of threads."""

import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from support import checkpoints
from support.api import pb
from support.client import Client, feature_inputs, tensor, token_inputs
from support.oip import tensor as oip_tensor
from support.oip import tokens

SCHEMES = {
    "fp32": pb.SCHEME_FP32,
    "fp16": pb.SCHEME_FP16,
    "bf16": pb.SCHEME_BF16,
    "dynamic": pb.SCHEME_W8A8_DYNAMIC,
    "static": pb.SCHEME_W8A8_STATIC,
    "llm-int8": pb.SCHEME_LLM_INT8,
}
ROWS = 67  # no multiple of any tile


def random_rows(seed, rows=ROWS):
    """Rows of different sizes, a few with live outliers."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (rows, 48)) * rng.uniform(0.01, 3, (rows, 1))
    x[::9, seed % 48] = 25
    return x.astype(np.float32)


def random_sequences(seed, count=24):
    rng = np.random.default_rng(seed)
    vocabulary = checkpoints.BERT["vocab_size"]
    longest = checkpoints.BERT["max_position_embeddings"]
    return [
        rng.integers(0, vocabulary, n).tolist()
        for n in rng.integers(1, longest + 1, count)
    ]


@pytest.fixture(scope="module")
def models(prepared):
    for name, scheme in SCHEMES.items():
        for model in ("mlp", "bert"):
            bundle = f"{model}-{name}"
            operation = prepared.quantize(
                model,
                bundle,
                model,
                scheme=pb.SCHEME_W8A8_DYNAMIC,
                overrides=[pb.SchemeOverride(pattern="*", scheme=scheme)],
                outlier_threshold=3.0,
            )
            assert operation.bundle == f"bundles/{bundle}", operation
            layers = prepared.report(bundle).layers
            assert {layer.scheme for layer in layers} == {scheme}
            prepared.load(bundle, f"bundles/{bundle}")
    return prepared


@pytest.mark.parametrize("scheme", SCHEMES)
def test_matmul_row_alone_is_the_row_in_a_batch(models, scheme):
    x = random_rows(1)
    together = models.matmul(f"mlp-{scheme}", "fc1", x)
    for i in range(ROWS):
        alone = models.matmul(f"mlp-{scheme}", "fc1", x[i : i + 1])
        np.testing.assert_array_equal(alone[0], together[i], f"row {i}")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_feature_row_alone_is_the_row_in_a_batch(models, scheme):
    x = random_rows(2)
    together = models.forward(f"mlp-{scheme}", feature_inputs(x))
    for i in range(0, ROWS, 5):
        alone = models.forward(f"mlp-{scheme}", feature_inputs(x[i : i + 1]))
        np.testing.assert_array_equal(alone[0], together[i], f"row {i}")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_sequence_alone_is_the_sequence_in_a_batch(models, scheme):
    sequences = random_sequences(3)
    together = models.embed(f"bert-{scheme}", sequences)
    for i, sequence in enumerate(sequences):
        alone = models.embed(f"bert-{scheme}", [sequence])
        np.testing.assert_array_equal(alone[0], together[i], f"sequence {i}")


def test_a_neighbour_with_outliers_changes_nothing(models):
    calm = random_rows(4, 8)
    wild = np.full((1, 48), 20, np.float32)
    for scheme in SCHEMES:
        alone = models.matmul(f"mlp-{scheme}", "fc1", calm)
        mixed = models.matmul(
            f"mlp-{scheme}", "fc1", np.concatenate([wild, calm])
        )
        np.testing.assert_array_equal(mixed[1:], alone, scheme)


def test_a_crowd_changes_nothing(models):
    """Requests of one sequence and of more than a batch, of single tokens and
    long ones, pooled and not, of all priorities, all at once."""
    rng = np.random.default_rng(5)
    sequences = random_sequences(5, 200)
    kinds = (pb.OUTPUT_KIND_MODEL, pb.OUTPUT_KIND_HIDDEN_STATES)
    priorities = (pb.PRIORITY_HIGH, pb.PRIORITY_NORMAL, pb.PRIORITY_LOW)
    requests = []
    for i, size in enumerate(rng.choice([1, 1, 1, 2, 5, 40], 60)):
        first = rng.integers(0, 160)
        batch = sequences[first : first + size]
        if i % 4 == 0:
            batch = [sequence[:1] for sequence in batch]
        requests.append(
            pb.ForwardRequest(
                model="models/bert-dynamic",
                inputs=token_inputs(batch),
                output=kinds[i % 2],
                priority=priorities[i % 3],
            )
        )
    alone = [models.inference.Forward(r, timeout=60) for r in requests]
    crowd = [models.inference.Forward.future(r, timeout=60) for r in requests]
    for i, call in enumerate(crowd):
        assert call.result().output == alone[i].output, f"request {i}"


def answers_of_every_api(client, x, sequences):
    """What MatMul, StreamMatMul, ModelInfer and ModelStreamInfer say, each of
    everything at once and of its rows one by one."""
    stub = service_pb2_grpc.GRPCInferenceServiceStub(client.channel)

    def products(rows):
        return pb.MatMulRequest(
            model="models/mlp-int8", layer="fc1", x=tensor(rows)
        )

    def inference(model, *inputs):
        return service_pb2.ModelInferRequest(
            model_name=model,
            inputs=[i._get_tensor() for i in inputs],
            raw_input_contents=[i._get_content() for i in inputs],
        )

    def stream_products(parts):
        requests = [
            pb.StreamMatMulRequest(request=products(rows)) for rows in parts
        ]
        answers = client.inference.StreamMatMul(iter(requests), timeout=60)
        return [answer.response.y.data for answer in answers]

    def stream_inferences(requests):
        answers = stub.ModelStreamInfer(iter(requests), timeout=60)
        return [a.infer_response.raw_output_contents[-1] for a in answers]

    def infer(request):
        return stub.ModelInfer(request, timeout=60).raw_output_contents[-1]

    rows = [x[i : i + 1] for i in range(len(x))]
    embeddings = inference("bert-int8", *tokens(sequences))
    each = [inference("bert-int8", *tokens([s])) for s in sequences]
    y = inference("mlp-int8", oip_tensor("x", x))
    return {
        "MatMul": client.inference.MatMul(products(x), timeout=60).y.data,
        "MatMul, rows": b"".join(
            client.inference.MatMul(products(row), timeout=60).y.data
            for row in rows
        ),
        "StreamMatMul": stream_products([x])[0],
        "StreamMatMul, rows": b"".join(stream_products(rows)),
        "ModelInfer": infer(embeddings),
        "ModelInfer, sequences": b"".join(infer(request) for request in each),
        "ModelStreamInfer": stream_inferences([embeddings])[0],
        "ModelStreamInfer, sequences": b"".join(stream_inferences(each)),
        "ModelInfer of features": infer(y),
        "ModelStreamInfer of features": stream_inferences([y])[0],
    }


def test_every_api_gives_the_same_bytes_on_any_number_of_threads(
    models, start_server, tmp_path
):
    x = random_rows(8, 1500)
    sequences = random_sequences(9, 200)
    data = tmp_path / "data"
    answers = {}
    for threads in (1, 2, 3):
        server = start_server(data, f"--threads={threads}")
        with Client(server.address) as client:
            if threads == 1:
                for model in ("mlp", "bert"):
                    bundle = f"{model}-int8"
                    client.upload_bundle(bundle, models.download_bundle(bundle))
                    client.load(bundle, f"bundles/{bundle}")
            answers[threads] = answers_of_every_api(client, x, sequences)
        assert server.stop() == 0
    one = answers[1]
    for api, bytes_ in one.items():
        assert len(bytes_) > 0, api
        for threads in (2, 3):
            assert answers[threads][api] == bytes_, (api, threads)
    for whole, alone in (
        ("MatMul", "MatMul, rows"),
        ("MatMul", "StreamMatMul"),
        ("MatMul", "StreamMatMul, rows"),
        ("ModelInfer", "ModelInfer, sequences"),
        ("ModelInfer", "ModelStreamInfer"),
        ("ModelInfer", "ModelStreamInfer, sequences"),
        ("ModelInfer of features", "ModelStreamInfer of features"),
    ):
        assert one[whole] == one[alone], alone


def test_real_model_on_other_thread_counts(
    start_server, model_dir, held_out, tmp_path
):
    """MiniLM: FP32 and INT8, alone and together, with one thread and two."""
    batch = held_out[:12]
    answers = {}
    for threads in (1, 2):
        server = start_server(tmp_path / "data", f"--threads={threads}")
        with Client(server.address) as client:
            if threads == 1:
                client.upload_checkpoint(
                    "minilm", checkpoints.from_directory(model_dir)
                )
                client.quantize("minilm", "int8")
                client.load("fp32", "checkpoints/minilm")
                client.load("int8", "bundles/int8")
            for model in ("fp32", "int8"):
                together = client.embed(model, batch)
                answers[model, threads] = together
                for i, sequence in enumerate(batch):
                    alone = client.forward(model, token_inputs([sequence]))
                    np.testing.assert_array_equal(alone[0], together[i])
        assert server.stop() == 0
    for model in ("fp32", "int8"):
        np.testing.assert_array_equal(answers[model, 1], answers[model, 2])
