"""Every call of tritonclient that is not an inference: server, models,
configuration, statistics, the repository, settings."""

import json
import queue
import time

import numpy as np
import pytest
import tritonclient.grpc as triton
from google.protobuf import descriptor_pool
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tritonclient.grpc import model_config_pb2

from support import checkpoints
from support.client import Client
from support.oip import fails, tensor, tokens
from support.prometheus_text import Samples

SERVICE = "inference.GRPCInferenceService"


@pytest.fixture(scope="module")
def oip(server, prepared):
    prepared.upload_checkpoint("set", checkpoints.linear_set(layers=2))
    prepared.load("set", "checkpoints/set")
    with triton.InferenceServerClient(server.address) as client:
        yield client


def test_the_server_is_live_and_ready_and_says_what_it_is(oip, server):
    assert oip.is_server_live()
    assert oip.is_server_ready()
    metadata = oip.get_server_metadata()
    assert metadata.name == "octet"
    assert metadata.version
    assert "statistics" in metadata.extensions
    assert "system_shared_memory" not in metadata.extensions


def test_health_and_reflection_know_the_service(prepared):
    health = health_pb2_grpc.HealthStub(prepared.channel).Check(
        health_pb2.HealthCheckRequest(service=SERVICE), timeout=10
    )
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    database = ProtoReflectionDescriptorDatabase(prepared.channel)
    listed = set(database.get_services())
    assert {SERVICE, "grpc.health.v1.Health"} <= listed
    pool = descriptor_pool.DescriptorPool(database)
    for service in listed:
        assert pool.FindServiceByName(service).methods


def test_models_are_ready_when_they_are_loaded(oip):
    assert oip.is_model_ready("bert")
    assert oip.is_model_ready("bert", "1")
    assert oip.is_model_ready("bert.encoder.layer.0.output.dense")
    assert not oip.is_model_ready("bert", "9")
    assert not oip.is_model_ready("bert.pooler")
    assert not oip.is_model_ready("nowhere")
    with fails(StatusCode.INVALID_ARGUMENT, "model_version"):
        oip.is_model_ready("bert", "newest")


def described(tensors):
    return {t.name: (t.datatype, list(t.shape)) for t in tensors}


def test_metadata_are_the_real_inputs_and_outputs(oip):
    bert = oip.get_model_metadata("bert-int8")
    assert (bert.name, bert.platform) == ("bert-int8", "octet_bert")
    assert list(bert.versions) == ["1"]
    assert described(bert.inputs) == {
        "input_ids": ("INT64", [-1, -1]),
        "attention_mask": ("INT64", [-1, -1]),
        "token_type_ids": ("INT64", [-1, -1]),
    }
    assert described(bert.outputs) == {
        "last_hidden_state": ("FP32", [-1, -1, 32]),
        "sentence_embedding": ("FP32", [-1, 32]),
    }
    mlp = oip.get_model_metadata("mlp")
    assert described(mlp.inputs) == {"x": ("FP32", [-1, 48])}
    assert described(mlp.outputs) == {"y": ("FP32", [-1, 16])}
    layer = oip.get_model_metadata("bert.encoder.layer.0.intermediate.dense")
    assert layer.platform == "octet_linear"
    assert described(layer.inputs) == {"x": ("FP32", [-1, 32])}
    assert described(layer.outputs) == {"y": ("FP32", [-1, 64])}
    whole = oip.get_model_metadata("set")
    assert not whole.inputs
    assert not whole.outputs
    with fails(StatusCode.NOT_FOUND, "'nowhere'"):
        oip.get_model_metadata("nowhere")
    assert oip.get_model_metadata("mlp", as_json=True)["name"] == "mlp"


def test_configuration_says_how_a_model_is_served(oip):
    config = oip.get_model_config("bert-int8").config
    assert config.name == "bert-int8"
    assert config.backend == "octet"
    assert config.max_batch_size > 1000
    assert config.HasField("dynamic_batching")
    assert config.version_policy.HasField("all")
    assert [(i.name, i.optional, list(i.dims)) for i in config.input] == [
        ("input_ids", False, [-1]),
        ("attention_mask", True, [-1]),
        ("token_type_ids", True, [-1]),
    ]
    assert {i.data_type for i in config.input} == {model_config_pb2.TYPE_INT64}
    assert [(o.name, list(o.dims)) for o in config.output] == [
        ("last_hidden_state", [-1, 32]),
        ("sentence_embedding", [32]),
    ]
    (group,) = config.instance_group
    assert group.kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    assert group.count > 0
    parameters = {k: v.string_value for k, v in config.parameters.items()}
    assert parameters["source"] == "bundles/bert-int8"
    assert parameters["max_sequence_length"] == "24"
    layers = parameters["layers"].split(",")
    assert len(layers) == 12
    assert all(oip.is_model_ready(layer) for layer in layers)


def test_configuration_says_how_long_batches_wait(start_server):
    server = start_server(None, "--batch-wait-ms=2.5")
    with (
        Client(server.address) as client,
        triton.InferenceServerClient(server.address) as other,
    ):
        client.upload_checkpoint("mlp", checkpoints.mlp())
        client.load("mlp", "checkpoints/mlp")
        batching = other.get_model_config("mlp").config.dynamic_batching
        assert batching.max_queue_delay_microseconds == 2500


def statistics(oip, name):
    (stats, *_) = oip.get_inference_statistics(name).model_stats
    return stats


def test_statistics_count_what_was_done(oip, prepared):
    x = [tensor("x", np.ones((4, 48), np.float32))]
    prepared.load("counted", "bundles/mlp-int8")
    fresh = statistics(oip, "counted")
    assert fresh.inference_count == fresh.last_inference == 0
    start = time.time_ns()
    for _ in range(3):
        oip.infer("counted", x)
    oip.infer("counted", [tensor("x", np.ones((2, 48), np.float32))])
    oip.infer("counted.fc1", x)
    with fails(StatusCode.INVALID_ARGUMENT):
        oip.infer("counted", [tensor("x", np.ones((2, 47), np.float32))])
    passed = time.time_ns() - start
    whole, layer = oip.get_inference_statistics("counted").model_stats
    assert (whole.name, whole.version) == ("counted", "1")
    assert (layer.name, layer.inference_count) == ("counted.fc1", 4)
    assert whole.inference_count == 3 * 4 + 2
    assert start // 10**6 - 1 <= whole.last_inference <= time.time() * 1000 + 1
    sums = whole.inference_stats
    assert sums.success.count == 4
    assert sums.fail.count == 1
    parts = [
        sums.queue,
        sums.compute_input,
        sums.compute_infer,
        sums.compute_output,
    ]
    assert all(part.count == 4 for part in parts)
    assert 0 < sums.compute_infer.ns < sums.success.ns < passed
    assert sum(part.ns for part in parts) <= sums.success.ns
    batches = {b.batch_size: b.compute_infer.count for b in whole.batch_stats}
    assert batches == {2: 1, 4: 3}
    assert whole.memory_usage[0].byte_size > 0
    prepared.load("counted", "bundles/mlp-int8")
    assert statistics(oip, "counted").inference_count == 0
    prepared.unload("counted")


def test_statistics_of_all_models_are_those_of_each(oip):
    names = {s.name for s in oip.get_inference_statistics().model_stats}
    assert {"bert", "bert-int8", "mlp", "mlp-int8", "set"} <= names


def index(oip):
    models = oip.get_model_repository_index().models
    return {m.name: (m.state, m.version, m.reason) for m in models}


def test_the_repository_has_what_is_loaded_and_what_could_be(oip, prepared):
    prepared.upload_checkpoint("shelved", checkpoints.mlp())
    known = index(oip)
    assert known["bert-int8"] == ("READY", "1", "")
    assert known["set.block.0.proj"] == ("READY", "1", "")
    assert known["shelved"] == ("UNAVAILABLE", "", "not loaded")
    x = [tensor("x", np.ones((2, 48), np.float32))]

    oip.load_model("shelved")
    assert index(oip)["shelved"] == ("READY", "1", "")
    y = oip.infer("shelved", x).as_numpy("y")
    np.testing.assert_array_equal(y, oip.infer("mlp", x).as_numpy("y"))

    config = {"parameters": {"source": {"string_value": "bundles/mlp-int8"}}}
    oip.load_model("shelved", config=json.dumps(config))
    y = oip.infer("shelved", x).as_numpy("y")
    np.testing.assert_array_equal(y, oip.infer("mlp-int8", x).as_numpy("y"))
    oip.load_model("shelved")  # again, from where it came
    assert index(oip)["shelved"][1] == "3"

    oip.unload_model("shelved")
    assert not oip.is_model_ready("shelved")
    assert index(oip)["shelved"][0] == "UNAVAILABLE"


def test_what_cannot_be_loaded_is_said(oip):
    with fails(StatusCode.NOT_FOUND, "no bundle or checkpoint"):
        oip.load_model("nothing-there")
    with fails(StatusCode.INVALID_ARGUMENT, "model_name"):
        oip.load_model("mlp.fc1")
    with fails(StatusCode.INVALID_ARGUMENT, "parameters.config"):
        oip.load_model("mlp", config="{")
    with fails(StatusCode.UNIMPLEMENTED, "checkpoints and bundles"):
        oip.load_model("mlp", config="{}", files={"file:1/model": b"bytes"})
    with fails(StatusCode.NOT_FOUND, "'nothing-there'"):
        oip.unload_model("nothing-there")
    assert oip.is_model_ready("mlp")


def test_what_needs_a_gpu_or_a_restart_says_so(oip):
    assert not oip.get_cuda_shared_memory_status().regions
    oip.unregister_cuda_shared_memory()
    with fails(StatusCode.UNIMPLEMENTED, "CPUs"):
        oip.register_cuda_shared_memory("r", b"aGFuZGxl", 0, 64)
    assert list(oip.get_trace_settings().settings["trace_level"].value) == [
        "OFF"
    ]
    with fails(StatusCode.UNIMPLEMENTED, "traces"):
        oip.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]})
    assert oip.get_log_settings().settings["log_info"].bool_param
    with fails(StatusCode.UNIMPLEMENTED, "--log-level"):
        oip.update_log_settings({"log_info": False})


def test_calls_are_counted_like_all_others(oip, server):
    def calls():
        return Samples(server.metrics_text()).get(
            "octet_rpc_requests_total",
            method="GRPCInferenceService/ModelInfer",
            code="OK",
        )

    before = calls()
    oip.infer("bert", tokens([[1, 2]]))
    assert calls() == before + 1


def test_overload_is_said_at_once_and_is_not_ill_health(start_server):
    """One thread, two waiting places, and a model that takes its time."""
    server = start_server(None, "--threads=1", "--queue-capacity=2")
    wide = checkpoints.mlp(widths=(1024, 6144, 1024))
    x = [tensor("x", np.ones((1000, 1024), np.float32))]
    answers = queue.Queue()
    with (
        Client(server.address) as client,
        triton.InferenceServerClient(server.address) as oip,
    ):
        client.upload_checkpoint("wide", wide)
        client.load("wide", "checkpoints/wide")
        for _ in range(16):
            oip.async_infer("wide", x, lambda result, error: answers.put(error))
        assert oip.is_server_live(client_timeout=10)
        assert oip.is_server_ready(client_timeout=10)
        assert oip.is_model_ready("wide", client_timeout=10)
        errors = [answers.get(timeout=60) for _ in range(16)]
        refused = [error for error in errors if error is not None]
        assert 0 < len(refused) < 16
        for error in refused:
            assert error.status() == str(StatusCode.RESOURCE_EXHAUSTED)
        # What was refused failed; what was not came through.
        (stats, *_) = oip.get_inference_statistics("wide").model_stats
        assert stats.inference_stats.fail.count == len(refused)
        assert stats.inference_stats.success.count == 16 - len(refused)


def test_a_model_that_no_request_finds_is_not_ready(oip, prepared):
    prepared.load("waiting", "checkpoints/mlp", traffic_share=0.0)
    assert not oip.is_model_ready("waiting")
    assert not oip.is_model_ready("waiting.fc1")
    assert oip.is_model_ready("waiting", "1")
    with fails(StatusCode.FAILED_PRECONDITION, "traffic share"):
        oip.infer("waiting", [tensor("x", np.ones((2, 48), np.float32))])
    prepared.load("waiting", "bundles/mlp-int8", traffic_share=1.0)
    assert oip.is_model_ready("waiting")
    oip.unload_model("waiting")


def test_versions_are_told_apart(oip, prepared):
    x = [tensor("x", np.ones((2, 48), np.float32))]
    prepared.load("twice", "checkpoints/mlp")
    prepared.load("twice", "bundles/mlp-int8", traffic_share=0.0)
    assert list(oip.get_model_metadata("twice").versions) == ["1", "2"]
    for version, model in (("1", "mlp"), ("2", "mlp-int8"), ("", "mlp")):
        assert oip.is_model_ready("twice", version)
        result = oip.infer("twice", x, model_version=version)
        assert result.get_response().model_version == (version or "1")
        np.testing.assert_array_equal(
            result.as_numpy("y"), oip.infer(model, x).as_numpy("y")
        )
        config = oip.get_model_config("twice", version).config
        source = config.parameters["source"].string_value
        assert source.endswith(f"/{model}")
    counts = {
        (s.version, s.inference_count)
        for s in oip.get_inference_statistics("twice").model_stats
    }
    assert counts == {("1", 4), ("2", 2)}
    (second,) = oip.get_inference_statistics("twice", "2").model_stats
    assert second.version == "2"
    states = [
        (m.version, m.state)
        for m in oip.get_model_repository_index().models
        if m.name == "twice"
    ]
    assert states == [("1", "READY"), ("2", "READY")]
    with fails(StatusCode.NOT_FOUND, "3"):
        oip.infer("twice", x, model_version="3")
    oip.unload_model("twice")
    assert not oip.is_model_ready("twice", "2")
