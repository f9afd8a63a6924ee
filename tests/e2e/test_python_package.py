"""client/python installs with pip and does what its README promises."""

import hashlib
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from support import checkpoints, texts
from support.certificates import Authority
from support.paths import ROOT

PACKAGE = ROOT / "client" / "python"


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Where the package is installed, beside the pinned dependencies.

    Built from a copy, so that no build directory is left in the tree.
    """
    copy = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "proto", copy / "proto")
    shutil.copytree(
        PACKAGE,
        copy / "client" / "python",
        ignore=shutil.ignore_patterns("build", "*.egg-info", "_generated"),
    )
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet"),
            *("--no-deps", "--no-build-isolation", "--target", target),
            copy / "client" / "python",
        ],
        check=True,
    )
    return target


@pytest.fixture(scope="module")
def served(client, model_dir):
    client.upload_checkpoint("minilm", checkpoints.from_directory(model_dir))
    client.quantize("minilm", "minilm")
    client.load("minilm", "bundles/minilm")
    return client


def run(site, *arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(site)},
    )


def test_ten_line_example_embeds_text(site, served, server, model_dir):
    example = PACKAGE / "examples" / "embed.py"
    code = [
        line
        for line in example.read_text().split('"""')[2].splitlines()
        if line.strip()
    ]
    assert len(code) <= 10
    result = run(site, example, "minilm", model_dir, server.address)
    assert result.returncode == 0, result.stderr
    rows = [
        [float(value) for value in line.strip(" []").split()]
        for line in result.stdout.strip().splitlines()
    ]
    similarity = np.array(rows)
    assert similarity.shape == (3, 3)
    np.testing.assert_allclose(np.diag(similarity), 1, atol=0.002)
    # The cat and the kitten are closer than either is to interest rates.
    assert similarity[0, 1] > similarity[0, 2] + 0.2
    assert similarity[0, 1] > similarity[1, 2] + 0.2


def test_package_gives_the_same_bits_as_the_stubs(
    site, served, server, model_dir, held_out, tmp_path
):
    script = tmp_path / "script.py"
    script.write_text(
        "import json, sys, numpy, octet_client\n"
        "sequences = json.load(open(sys.argv[2]))\n"
        "with octet_client.Client(sys.argv[1]) as client:\n"
        "    rows = client.forward('minilm', sequences)\n"
        "numpy.save(sys.argv[3], rows)\n"
    )
    sequences = tmp_path / "sequences.json"
    sequences.write_text(repr(held_out[:5]))
    out = tmp_path / "rows.npy"
    result = run(site, script, server.address, sequences, out)
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(
        np.load(out), served.embed("minilm", held_out[:5])
    )


def test_errors_carry_code_and_field(site, served, server, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, octet_client\n"
        "with octet_client.Client(sys.argv[1]) as client:\n"
        "    try:\n"
        "        client.forward('minilm', [[1, 99999]])\n"
        "    except octet_client.OctetError as error:\n"
        "        print(error)\n"
        "        print([v.field for v in error.field_violations])\n"
    )
    result = run(site, script, server.address)
    assert result.returncode == 0, result.stderr
    assert "tokens.ids[1]" in result.stdout
    assert "99999" in result.stdout


def test_text_is_tokenized_as_the_model_wants(
    site, served, server, model_dir, tmp_path
):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, numpy, octet_client, octet_client.text\n"
        "texts = open(sys.argv[3]).read().split('\\0')\n"
        "with octet_client.Client(sys.argv[1]) as client:\n"
        "    embedder = octet_client.text.Embedder(\n"
        "        client, 'minilm', sys.argv[2])\n"
        "    rows = embedder.encode(texts)\n"
        "    assert numpy.allclose(embedder.encode(texts[0]), rows[0])\n"
        "    numpy.save(sys.argv[4], rows)\n"
    )
    samples = texts.held_out_texts(6)
    source = tmp_path / "texts"
    source.write_text("\0".join(samples))
    out = tmp_path / "rows.npy"
    result = run(site, script, server.address, model_dir, source, out)
    assert result.returncode == 0, result.stderr
    expected = served.embed("minilm", texts.tokenize(model_dir, samples))
    cosine = np.sum(np.load(out) * expected, axis=1)
    # The longest text may be cut elsewhere than at 128 tokens.
    assert np.median(cosine) > 0.9999


def test_client_talks_tls_and_sends_its_token(site, start_server, tmp_path):
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    mine = authority.issue("notebook")
    tokens = tmp_path / "tokens"
    tokens.write_text(
        f"notebook infer {hashlib.sha256(b'a-token').hexdigest()}\n"
    )
    (tmp_path / "secret").write_text("a-token\n")
    server = start_server(
        None,
        f"--token-file={tokens}",
        f"--tls-certificate={pair.certificate}",
        f"--tls-key={pair.key}",
        f"--tls-client-ca={authority.file}",
    )
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import octet_client
own = dict(
    tls_ca={str(authority.file)!r},
    tls_cert={str(mine.certificate)!r},
    tls_key={str(mine.key)!r},
)
token = {str(tmp_path / "secret")!r}
with octet_client.Client({server.address!r}, **own, token_file=token) as client:
    assert client.list_models() == []
    try:
        client.unload("x")
    except octet_client.OctetError as error:
        print(error.code.name)
with octet_client.Client({server.address!r}, **own) as client:
    try:
        client.list_models()
    except octet_client.OctetError as error:
        print(error.code.name)
try:
    octet_client.Client("192.0.2.1:8001", token_file=token)
except ValueError as error:
    print(error)
"""
    )
    result = run(site, program)
    assert result.returncode == 0, result.stderr
    denied, unauthenticated, refused = result.stdout.splitlines()
    assert denied == "PERMISSION_DENIED"
    assert unauthenticated == "UNAUTHENTICATED"
    assert "in plaintext" in refused
