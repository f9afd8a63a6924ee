"""Certificates for tests, made with the openssl command."""

import pathlib
import subprocess
from dataclasses import dataclass

import grpc


@dataclass(frozen=True)
class Pair:
    """PEM files of a certificate and its key."""

    certificate: pathlib.Path
    key: pathlib.Path


def _openssl(*words: object) -> None:
    subprocess.run(
        ["openssl", *map(str, words)], check=True, capture_output=True
    )


class Authority:
    """Signs certificates; everything lies in `directory`."""

    def __init__(self, directory: pathlib.Path, name: str = "authority"):
        self.directory = directory
        self.own = self._self_signed(name)

    @property
    def file(self) -> pathlib.Path:
        """What a peer trusts."""
        return self.own.certificate

    def _self_signed(self, name: str) -> Pair:
        pair = self._paths(name)
        _openssl(
            *("req", "-x509", "-newkey", "ec"),
            *("-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2),
            *("-keyout", pair.key, "-out", pair.certificate),
            *("-subj", f"/CN={name}"),
        )
        return pair

    def issue(
        self, name: str, hosts: str = "IP:127.0.0.1,DNS:localhost"
    ) -> Pair:
        """For a server on 127.0.0.1 or other `hosts`, or a client called
        `name`."""
        pair = self._paths(name)
        request = self.directory / f"{name}.csr"
        extensions = self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={hosts}\n")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", pair.key, "-out", request),
            *("-subj", f"/CN={name}"),
        )
        _openssl(
            *("x509", "-req", "-in", request, "-out", pair.certificate),
            *("-CA", self.own.certificate, "-CAkey", self.own.key),
            *("-CAcreateserial", "-days", 1, "-extfile", extensions),
        )
        return pair

    def _paths(self, name: str) -> Pair:
        return Pair(
            self.directory / f"{name}.pem", self.directory / f"{name}.key"
        )


def channel_credentials(
    ca: pathlib.Path, client: Pair | None = None
) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=ca.read_bytes(),
        private_key=client.key.read_bytes() if client else None,
        certificate_chain=client.certificate.read_bytes() if client else None,
    )
