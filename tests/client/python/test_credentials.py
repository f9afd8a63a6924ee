"""A token goes over the network encrypted, or not at all."""

import grpc
import pytest


@pytest.mark.parametrize(
    "server", ["127.0.0.1:8001", "localhost:8001", "[::1]:8001", "unix:/run/o"]
)
def test_a_token_may_stay_on_this_machine_in_plaintext(server, tmp_path):
    import octet_client

    token = tmp_path / "token"
    token.write_text("secret\n")
    octet_client.Client(server, token_file=token).close()


@pytest.mark.parametrize(
    "server",
    [
        "10.0.0.1:8001",
        "127.example.org:8001",
        "localhost.example.org:8001",
        "::1:8001",
    ],
)
def test_a_token_is_not_sent_elsewhere_in_plaintext(server, tmp_path):
    import octet_client

    token = tmp_path / "token"
    token.write_text("secret\n")
    with pytest.raises(ValueError, match="plaintext"):
        octet_client.Client(server, token_file=token)
    octet_client.Client(
        server, token_file=token, allow_plaintext_tokens=True
    ).close()


def test_the_name_on_the_certificate_may_be_said(monkeypatch):
    import octet_client

    opened = []
    secure_channel = grpc.secure_channel

    def remember(target, credentials, options):
        opened.append(options)
        return secure_channel(target, credentials, options)

    monkeypatch.setattr(grpc, "secure_channel", remember)
    octet_client.Client(tls=True, tls_server_name="octet.test").close()
    assert ("grpc.ssl_target_name_override", "octet.test") in opened[0]
    with pytest.raises(ValueError, match="tls_server_name"):
        octet_client.Client(tls_server_name="octet.test")
