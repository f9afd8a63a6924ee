"""A token goes over the network encrypted, or not at all."""

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
