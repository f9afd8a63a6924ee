"""TLS with real certificates: who connects, and what happens when files
change under the server."""

import shutil
import ssl
import subprocess
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support import wait
from support.certificates import Authority, channel_credentials
from support.paths import binary
from support.prometheus_text import Samples

SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


class Files:
    """The files a server is started with."""

    def __init__(self, directory, pair):
        self.certificate = directory / "in-force.pem"
        self.key = directory / "in-force.key"
        self.put(pair)

    def put(self, pair):
        shutil.copy(pair.certificate, self.certificate)
        shutil.copy(pair.key, self.key)

    def flags(self):
        return (
            f"--tls-certificate={self.certificate}",
            f"--tls-key={self.key}",
        )


@pytest.fixture
def files(tmp_path, authority):
    return Files(tmp_path, authority.issue("first"))


def health(address, credentials):
    with grpc.secure_channel(
        address, credentials, [("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status


def code_of(address, credentials):
    with pytest.raises(grpc.RpcError) as error:
        health(address, credentials)
    return error.value.code()


def shown_to_a_new_connection(server) -> str:
    host, port = server.address.rsplit(":", 1)
    return ssl.get_server_certificate((host, int(port)), timeout=5)


def same(shown: str, pair) -> bool:
    return shown.strip() == pair.certificate.read_text().strip()


def reloads(server, result):
    return Samples(server.metrics_text()).get(
        "octet_credentials_reloads_total", what="certificate", result=result
    )


def test_only_who_trusts_the_authority_connects(
    start_server, files, authority, tmp_path
):
    server = start_server(None, *files.flags())
    assert (
        health(server.address, channel_credentials(authority.file)) == SERVING
    )
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "stranger")
    assert (
        code_of(server.address, channel_credentials(stranger.file))
        == grpc.StatusCode.UNAVAILABLE
    )
    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError):
            stub.Check(health_pb2.HealthCheckRequest(), timeout=5)


def test_mutual_tls_wants_a_certificate_of_its_authority(
    start_server, files, authority, tmp_path
):
    server = start_server(
        None, *files.flags(), f"--tls-client-ca={authority.file}"
    )
    alice = authority.issue("alice")
    (tmp_path / "other").mkdir()
    mallory = Authority(tmp_path / "other", "stranger").issue("mallory")
    ca = authority.file
    assert health(server.address, channel_credentials(ca, alice)) == SERVING
    unavailable = grpc.StatusCode.UNAVAILABLE
    assert code_of(server.address, channel_credentials(ca)) == unavailable
    assert (
        code_of(server.address, channel_credentials(ca, mallory)) == unavailable
    )


def test_health_where_the_certificate_does_not_name_the_address(
    start_server, tmp_path, authority
):
    """As the container asks itself: by environment, at its own loopback."""
    files = Files(tmp_path, authority.issue("octet", hosts="DNS:octet.test"))
    server = start_server(
        None, *files.flags(), f"--tls-client-ca={authority.file}"
    )
    own = authority.issue("health")
    environment = {
        "OCTET_SERVER": server.address,
        "OCTET_CLIENT_TLS_CA": str(authority.file),
        "OCTET_CLIENT_TLS_CERT": str(own.certificate),
        "OCTET_CLIENT_TLS_KEY": str(own.key),
    }

    def ask(**more):
        return subprocess.run(
            [binary("octet"), "health"],
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=60,
        )

    unnamed = ask()
    assert unnamed.returncode == 6, unnamed.stderr
    named = ask(OCTET_CLIENT_TLS_SERVER_NAME="octet.test")
    assert named.returncode == 0, named.stderr
    assert "SERVING" in named.stdout
    wrong = ask(OCTET_CLIENT_TLS_SERVER_NAME="other.test")
    assert wrong.returncode == 6, wrong.stderr


def test_new_connections_see_a_new_certificate_and_old_ones_go_on(
    start_server, files, authority
):
    server = start_server(None, *files.flags())
    expiry = Samples(server.metrics_text()).get(
        "octet_certificate_expiry_timestamp_seconds"
    )
    assert time.time() < expiry < time.time() + 2 * 86400
    second = authority.issue("second")
    assert not same(shown_to_a_new_connection(server), second)
    with grpc.secure_channel(
        server.address, channel_credentials(authority.file)
    ) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        assert stub.Check(request, timeout=5).status == SERVING
        files.put(second)
        wait.until(
            lambda: same(shown_to_a_new_connection(server), second),
            "the new certificate was never shown",
        )
        assert stub.Check(request, timeout=5).status == SERVING
    assert reloads(server, "ok") >= 1


@pytest.mark.parametrize("broken", ["garbage", "other_key", "missing"])
def test_a_broken_file_keeps_the_certificate_in_force(
    start_server, files, authority, broken
):
    server = start_server(None, *files.flags())
    before = shown_to_a_new_connection(server)
    if broken == "garbage":
        files.certificate.write_text("no certificate at all\n")
    elif broken == "other_key":
        shutil.copy(authority.issue("second").key, files.key)
    else:
        files.key.unlink()
    wait.until(lambda: reloads(server, "failed") >= 1, "the change went unseen")
    assert shown_to_a_new_connection(server) == before
    assert (
        health(server.address, channel_credentials(authority.file)) == SERVING
    )
    assert "the earlier certificate stays in force" in server.log_text()
    third = authority.issue("third")
    files.put(third)
    wait.until(
        lambda: same(shown_to_a_new_connection(server), third),
        "the server did not recover",
    )


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--tls-certificate=/nowhere.pem",), "go together"),
        (("--tls-client-ca=/nowhere.pem",), "needs --tls-certificate"),
        (
            ("--tls-certificate=/nowhere.pem", "--tls-key=/nowhere.key"),
            "'/nowhere.pem' cannot be read",
        ),
    ],
)
def test_what_would_be_less_safe_than_it_looks_does_not_start(
    start_server, flags, says
):
    with pytest.raises(RuntimeError, match=says):
        start_server(None, *flags)


def test_tokens_in_plaintext_stay_on_this_machine(tmp_path):
    answer = subprocess.run(
        [
            binary("octet-server"),
            "--grpc-address=0.0.0.0:0",
            "--metrics-address=127.0.0.1:0",
            f"--data-dir={tmp_path}",
            "--token-file=/nowhere",
        ],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert answer.returncode == 1
    assert "--allow-plaintext-tokens" in answer.stderr


def test_a_new_authority_of_clients_counts_for_new_connections(
    start_server, files, authority, tmp_path
):
    """mTLS: whose certificates clients show is read again, too."""
    (tmp_path / "next").mkdir()
    successor = Authority(tmp_path / "next", "successor")
    trusted = tmp_path / "clients.pem"
    shutil.copy(authority.file, trusted)
    server = start_server(None, *files.flags(), f"--tls-client-ca={trusted}")
    ca = authority.file
    alice = channel_credentials(ca, authority.issue("alice"))
    bob = channel_credentials(ca, successor.issue("bob"))
    assert health(server.address, alice) == SERVING
    assert code_of(server.address, bob) == grpc.StatusCode.UNAVAILABLE

    shutil.copy(successor.file, trusted)

    def bob_may():
        try:
            return health(server.address, bob) == SERVING
        except grpc.RpcError:
            return False

    wait.until(bob_may, "the new authority was never trusted")
    assert code_of(server.address, alice) == grpc.StatusCode.UNAVAILABLE

    failures = reloads(server, "failed")
    trusted.write_text("no authority at all\n")
    wait.until(
        lambda: reloads(server, "failed") > failures, "the change went unseen"
    )
    assert health(server.address, bob) == SERVING
