"""Bearer tokens over the wire: every method of every service has an answer to
"who may call it", given before the request is read."""

import hashlib
import importlib
import os
import subprocess

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient.grpc import service_pb2

from support import checkpoints, wait
from support.certificates import Authority, channel_credentials
from support.client import Client, feature_inputs
from support.paths import binary
from support.prometheus_text import Samples

INFER = "infer-0123456789abcdef"
ADMIN = "admin-0123456789abcdef"
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED
# Of the Open Inference Protocol.
CHANGE_THE_SERVER = {
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
}


def line(name, role, token):
    return f"{name} {role} {hashlib.sha256(token.encode()).hexdigest()}\n"


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(
        "# name role digest\n\n"
        + line("ci", "infer", INFER)
        + line("ops", "admin", ADMIN)
    )
    return path


@pytest.fixture
def server(start_server, token_file):
    return start_server(None, f"--token-file={token_file}")


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


def call(address, method, token=None, kind="unary_unary", messages=b""):
    """Calls by name with raw bytes; the status."""
    metadata = bearer(token) if token else ()
    with grpc.insecure_channel(address) as channel:
        request = iter([messages]) if kind.startswith("stream") else messages
        try:
            response = getattr(channel, kind)(
                method,
                request_serializer=bytes,
                response_deserializer=bytes,
            )(request, metadata=metadata, timeout=10)
            if kind.endswith("stream"):
                for _ in response:
                    break
                response.cancel()
            return grpc.StatusCode.OK, ""
        except grpc.RpcError as error:
            return error.code(), error.details()


def all_methods():
    """(path, kind) of every method that the server has of its own."""
    found = []
    octets = (
        "bundle",
        "calibration",
        "checkpoint",
        "inference",
        "model",
        "quantization",
    )
    for module in (
        *(
            importlib.import_module(f"octet.v1.{name}_service_pb2")
            for name in octets
        ),
        service_pb2,
    ):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                kind = "_".join(
                    "stream" if streams else "unary"
                    for streams in (
                        method.client_streaming,
                        method.server_streaming,
                    )
                )
                found.append((f"/{service.full_name}/{method.name}", kind))
    return found


def may_infer(path):
    """What docs/security.md promises of the role infer."""
    service, method = path.removeprefix("/").split("/")
    if service == "inference.GRPCInferenceService":
        return method not in CHANGE_THE_SERVER
    return service == "octet.v1.InferenceService" or method.startswith(
        ("Get", "List", "Watch")
    )


def test_every_method_asks_for_a_token(server):
    assert len(all_methods()) > 50
    for path, kind in all_methods():
        code, says = call(server.address, path, kind=kind)
        assert code == UNAUTHENTICATED, path
        assert path.removeprefix("/") in says
        assert call(server.address, path, "wrong", kind)[0] == UNAUTHENTICATED


def test_roles_open_what_they_should(server):
    for path, kind in all_methods():
        code, says = call(server.address, path, INFER, kind)
        if may_infer(path):
            assert code not in (UNAUTHENTICATED, DENIED), (path, says)
        else:
            assert code == DENIED, path
            assert says == (
                f"token 'ci' has the role infer; {path[1:]} needs admin"
            )
        code, says = call(server.address, path, ADMIN, kind)
        assert code not in (UNAUTHENTICATED, DENIED), (path, says)


def test_methods_that_nobody_knows_are_closed_as_well(server):
    for path in ("/octet.v1.ModelService/Nonsense", "/a.B/C", "/x"):
        assert call(server.address, path)[0] == UNAUTHENTICATED
        assert call(server.address, path, INFER)[0] == DENIED
    unknown = call(server.address, "/a.B/C", ADMIN)
    assert unknown[0] == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "header",
    [
        (("authorization", INFER),),
        (("authorization", f"Basic {INFER}"),),
        (("authorization", "Bearer "),),
        (("authorization", f"Bearer {INFER}x"),),
        (("authorization", f"Bearer {INFER[:-1]}"),),
        (("authorization", "Bearer " + "x" * 5000),),
        (("authorization", f"Bearer {ADMIN}"), ("authorization", "Bearer x")),
        (("authorization", "Bearer x"), ("authorization", f"Bearer {ADMIN}")),
    ],
)
def test_other_headers_do_not_pass(server, header):
    with grpc.insecure_channel(server.address) as channel:
        list_models = channel.unary_unary("/octet.v1.ModelService/ListModels")
        with pytest.raises(grpc.RpcError) as error:
            list_models(b"", metadata=header, timeout=10)
    assert error.value.code() == UNAUTHENTICATED


def test_health_is_open_and_reflection_as_the_flag_says(
    start_server, token_file
):
    def reflect(server, token=None):
        with grpc.insecure_channel(server.address) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            answers = stub.ServerReflectionInfo(
                iter([request]),
                metadata=bearer(token) if token else (),
                timeout=10,
            )
            try:
                names = {
                    service.name
                    for service in next(answers).list_services_response.service
                }
                assert "octet.v1.InferenceService" in names
                return grpc.StatusCode.OK
            except grpc.RpcError as error:
                return error.code()

    expected = {
        "on": (UNAUTHENTICATED, grpc.StatusCode.OK),
        "open": (grpc.StatusCode.OK, grpc.StatusCode.OK),
        "off": (UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED),
    }
    for mode, codes in expected.items():
        server = start_server(
            None, f"--token-file={token_file}", f"--reflection={mode}"
        )
        assert (reflect(server), reflect(server, INFER)) == codes, mode
        with grpc.insecure_channel(server.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            status = health.Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert status.status == health_pb2.HealthCheckResponse.SERVING
        server.kill()


def test_a_stranger_cannot_make_the_server_read_a_message(server):
    def received():
        return Samples(server.metrics_text()).get(
            "octet_rpc_message_bytes_total",
            method="InferenceService/Forward",
            direction="received",
        )

    path = "/octet.v1.InferenceService/Forward"
    big = bytes(32 << 20)
    code, _ = call(server.address, path, "wrong", messages=big)
    assert code == UNAUTHENTICATED
    assert received() == 0
    assert (
        Samples(server.metrics_text()).get(
            "octet_auth_refused_total", reason="unknown_token"
        )
        == 1
    )


def test_changed_tokens_count_and_a_broken_file_changes_nothing(
    server, token_file
):
    path = "/octet.v1.ModelService/ListModels"

    def wait_for(token, code):
        wait.until(lambda: call(server.address, path, token)[0] == code)

    wait_for(INFER, grpc.StatusCode.OK)
    token_file.write_text(line("new", "infer", "another"))
    wait_for("another", grpc.StatusCode.OK)
    assert call(server.address, path, INFER)[0] == UNAUTHENTICATED

    token_file.write_text("new infer another\n")
    wait.until(lambda: "stay in force" in server.log_text())
    assert call(server.address, path, "another")[0] == grpc.StatusCode.OK


def test_no_token_is_ever_logged(start_server, token_file):
    server = start_server(
        None, f"--token-file={token_file}", "--log-level=debug"
    )
    for token in (INFER, ADMIN, "wrong-one"):
        for path, kind in all_methods():
            call(server.address, path, token, kind)
    token_file.write_text("ops admin plain-secret-in-the-wrong-place\n")
    wait.until(lambda: "stay in force" in server.log_text())
    log = server.log_text()
    for secret in (INFER, ADMIN, "wrong-one", "plain-secret"):
        assert secret not in log


def test_tokens_over_tls_do_the_main_work(start_server, token_file, tmp_path):
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    server = start_server(
        None,
        f"--token-file={token_file}",
        f"--tls-certificate={pair.certificate}",
        f"--tls-key={pair.key}",
    )

    def client(token):
        credentials = grpc.composite_channel_credentials(
            channel_credentials(authority.file),
            grpc.access_token_call_credentials(token),
        )
        return Client(server.address, credentials=credentials)

    with client(ADMIN) as admin:
        admin.upload_checkpoint("mlp", checkpoints.mlp())
        admin.load("mlp", "checkpoints/mlp")
    with client(INFER) as user:
        rows = np.ones((2, 48), np.float32)
        assert user.forward("mlp", feature_inputs(rows)).shape[0] == 2
        with pytest.raises(grpc.RpcError) as error:
            user.unload("mlp")
        assert error.value.code() == DENIED


def test_the_octet_command_talks_tls_and_sends_its_token(
    start_server, token_file, tmp_path
):
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    mine = authority.issue("operator")
    server = start_server(
        None,
        f"--token-file={token_file}",
        f"--tls-certificate={pair.certificate}",
        f"--tls-key={pair.key}",
        f"--tls-client-ca={authority.file}",
    )
    secret = tmp_path / "secret"
    secret.write_text(INFER + "\n")

    def octet(*words, **variables):
        return subprocess.run(
            [binary("octet"), *words],
            capture_output=True,
            text=True,
            timeout=60,
            env={
                "PATH": os.environ["PATH"],
                "OCTET_SERVER": server.address,
                **variables,
            },
        )

    certificates = {
        "OCTET_CLIENT_TLS_CA": str(authority.file),
        "OCTET_CLIENT_TLS_CERT": str(mine.certificate),
        "OCTET_CLIENT_TLS_KEY": str(mine.key),
    }
    listed = octet(f"--token-file={secret}", "model", "list", **certificates)
    assert listed.returncode == 0, listed.stderr
    without = octet("model", "list", **certificates)
    assert without.returncode == 10
    assert "OCTET_CLIENT_TOKEN_FILE" in without.stderr
    denied = octet(
        *("model", "unload", "x"),
        OCTET_CLIENT_TOKEN_FILE=str(secret),
        **certificates,
    )
    assert denied.returncode == 10
    assert "needs admin" in denied.stderr
    plain = octet("model", "list")
    assert plain.returncode == 6
    elsewhere = octet(
        "--server=192.0.2.1:1", f"--token-file={secret}", "model", "list"
    )
    assert elsewhere.returncode != 0
    assert "in plaintext" in elsewhere.stderr
    for answer in (listed, without, denied, elsewhere):
        assert INFER not in answer.stdout + answer.stderr
