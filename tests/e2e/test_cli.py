"""The octet command: every subcommand against a real server, --json that
parses, exit codes that mean something."""

import fcntl
import io
import json
import os
import pty
import signal
import struct
import subprocess
import termios

import numpy as np
import pytest

from support import archives, checkpoints, wait
from support.paths import binary

USAGE, NOT_FOUND, INVALID, EXISTS, RETRY, DATA_LOSS = 2, 3, 4, 5, 6, 7


@pytest.fixture(scope="module")
def octet(server):
    """octet("checkpoint", "list") -> CompletedProcess"""

    def run(*arguments, stdin=None, check=True, address=None):
        result = subprocess.run(
            [binary("octet"), *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "OCTET_SERVER": address or server.address},
        )
        if check:
            assert result.returncode == 0, result.stdout + result.stderr
        return result

    return run


@pytest.fixture(scope="module")
def as_json(octet):
    return lambda *arguments, **options: json.loads(
        octet("--json", *arguments, **options).stdout
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Checkpoints and inputs as files."""
    root = tmp_path_factory.mktemp("cli")
    for name, files in (
        ("bert", checkpoints.bert()),
        ("mlp", checkpoints.mlp()),
    ):
        for path, data in files.items():
            target = root / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    rng = np.random.default_rng(1)
    np.save(root / "rows.npy", rng.normal(0, 1, (120, 48)).astype(np.float32))
    (root / "tokens.jsonl").write_text(
        "".join(
            json.dumps({"ids": rng.integers(0, 50, 9).tolist(), "text": "…"})
            + "\n"
            for _ in range(120)
        )
    )
    return root


@pytest.fixture(scope="module")
def job(octet, directory):
    """The main job by commands, for both families."""
    octet("checkpoint", "upload", directory / "bert", "bert")
    octet("checkpoint", "upload", directory / "mlp", "mlp")
    octet("calibration", "create", "texts", "--checkpoint", "bert")
    octet("calibration", "upload", "texts", directory / "tokens.jsonl")
    octet("calibration", "create", "rows", "--checkpoint", "mlp")
    octet("calibration", "upload", "rows", directory / "rows.npy")
    octet("quantize", "bert", "--bundle", "bert-int8", "--calibration", "texts")
    octet(
        *("quantize", "mlp", "--bundle", "mlp-int8", "--calibration", "rows"),
        *("--scheme", "llm_int8", "--outlier-threshold", "2.5"),
    )
    octet("model", "load", "bert", "bundles/bert-int8")
    octet("model", "load", "mlp", "bundles/mlp-int8")
    return octet


def test_main_job(job, as_json):
    models = as_json("model", "list")["models"]
    assert [m["name"] for m in models] == ["models/bert", "models/mlp"]


def test_tables_fit_a_terminal(job, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    for command in (
        ("checkpoint", "list"),
        ("checkpoint", "get", "bert"),
        ("calibration", "list"),
        ("calibration", "get", "texts"),
        ("bundle", "list"),
        ("bundle", "get", "bert-int8"),
        ("report", "bert-int8"),
        ("model", "list"),
        ("model", "get", "bert"),
        ("model", "stats", "bert"),
        ("operation", "list"),
    ):
        out = job(*command).stdout
        assert out.strip(), command
        longest = max(out.splitlines(), key=len)
        assert len(longest) <= 100, (command, longest)


def test_a_pipe_gets_tables_whole(job, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    name = "of-a-calibration-whose-name-is-as-long-as-names-may-be-" + "x" * 8
    job("calibration", "create", name, "--checkpoint", "bert")
    header, *lines = job("calibration", "list").stdout.splitlines()
    assert "CREATED" in header
    assert any(name in line for line in lines)
    job("calibration", "delete", name)


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("checkpoint", "get", "bert"), "layers"),
        (("checkpoint", "list"), "checkpoints"),
        (("calibration", "get", "texts"), "layers"),
        (("calibration", "list"), "calibrations"),
        (("bundle", "get", "bert-int8"), "files"),
        (("bundle", "list"), "bundles"),
        (("report", "bert-int8"), "layers"),
        (("model", "get", "bert"), "layers"),
        (("model", "list"), "models"),
        (("model", "stats", "bert"), "name"),
        (("operation", "list"), "operations"),
        (("health",), "status"),
        (("version",), "version"),
    ],
)
def test_json_is_one_document(job, as_json, command, key):
    assert as_json(*command)[key]


def test_report_names_layers_and_their_errors(job, as_json):
    report = as_json("report", "bert-int8")
    assert len(report["layers"]) == 12
    for layer in report["layers"]:
        assert layer["scheme"] == "SCHEME_W8A8_DYNAMIC"
        assert layer["weight_error"]["sqnr_db"] > 25
    text = job("report", "bert-int8").stdout
    assert " ".join(text.split()).startswith(report["summary"])
    assert "encoder.layer.1.output.dense" in text


def test_report_is_a_page(job, tmp_path):
    page = tmp_path / "report.html"
    job("report", "bert-int8", "--html", page)
    assert page.read_text().startswith("<!doctype html>")
    assert "bert-int8" in page.read_text()


def test_what_came_before_a_bad_line_stays_and_is_said(job, as_json, tmp_path):
    job("calibration", "create", "bad-line", "--checkpoint", "bert")
    path = tmp_path / "tokens.jsonl"
    lines = ['{"ids": [1, 2, 3]}'] * 70
    path.write_text("\n".join([*lines, '{"ids": [1,']))
    result = job("calibration", "upload", "bad-line", path, check=False)
    assert result.returncode == INVALID
    assert "line 71" in result.stderr
    assert "of 2 batches, stays in calibration 'bad-line'" in result.stderr
    found = as_json("calibration", "get", "bad-line")
    assert int(found["sample_count"]) == 64
    job("calibration", "delete", "bad-line")


def test_forward_writes_npy(job, tmp_path, directory):
    out = tmp_path / "y.npy"
    job("forward", "mlp", "--input", directory / "rows.npy", "--output", out)
    assert np.load(out).shape == (120, 16)
    job("forward", "bert", "--ids", "1,2,3", "--output", out)
    embedding = np.load(out)
    assert embedding.shape == (1, 32)
    assert abs(np.linalg.norm(embedding) - 1) < 1e-5
    job(
        *("forward", "bert", "--input", "-", "--output", out),
        "--hidden-states",
        stdin='{"ids": [1, 2]}\n{"ids": [3, 4, 5]}\n',
    )
    assert np.load(out).shape == (5, 32)


def test_matmul_writes_npy(job, tmp_path, directory):
    out = tmp_path / "y.npy"
    rows = directory / "rows.npy"
    job("matmul", "mlp", "fc1", "--input", rows, "--output", out)
    assert np.load(out).shape == (120, 64)
    job("matmul", "mlp", "fc2", "--random", 7, "--output", out)
    assert np.load(out).shape == (7, 16)


def test_bundle_goes_out_and_comes_back(job, tmp_path, as_json, directory):
    tar = tmp_path / "bundle.tar"
    job("bundle", "download", "mlp-int8", tar)
    assert {
        info.name.removeprefix("./")
        for info, _ in archives.members(tar.read_bytes())
    } >= {"model.safetensors", "config.json", "octet.json"}
    job("bundle", "upload", tar, "again")
    job("bundle", "download", "again", tmp_path / "unpacked", "--unpack")
    assert (tmp_path / "unpacked" / "octet.json").exists()
    job("bundle", "upload", tmp_path / "unpacked", "once-more")
    ids = [b["name"] for b in as_json("bundle", "list")["bundles"]]
    assert {"bundles/again", "bundles/once-more"} <= set(ids)

    job("model", "load", "again", "bundles/again")
    ours, theirs = tmp_path / "a.npy", tmp_path / "b.npy"
    for model, out in (("mlp", ours), ("again", theirs)):
        job(
            *("forward", model, "--input", directory / "rows.npy"),
            *("--output", out),
        )
    np.testing.assert_array_equal(np.load(ours), np.load(theirs))
    job("model", "unload", "again")
    job("bundle", "delete", "again")
    job("bundle", "delete", "once-more")


def test_transfers_touch_no_file_but_theirs(job, tmp_path):
    """Not even what an interrupted download of an earlier version left."""
    target, file = tmp_path / "bundle", tmp_path / "texts"
    mine = {tmp_path / "texts.part", tmp_path / "bundle.part.tar"}
    for path in mine:
        path.write_text("mine")
    left = tmp_path / "bundle.part"
    left.mkdir()
    (left / "stale.safetensors").write_text("stale")
    job("bundle", "download", "mlp-int8", target, "--unpack")
    assert not (target / "stale.safetensors").exists()
    job("bundle", "upload", target, "untouched")
    job("bundle", "delete", "untouched")
    job("calibration", "export", "texts", file)
    failed = ("bundle", "download", "nowhere", tmp_path / "nowhere")
    assert job(*failed, check=False).returncode == NOT_FOUND
    assert (left / "stale.safetensors").exists()
    assert all(path.read_text() == "mine" for path in mine)
    assert set(tmp_path.iterdir()) == {target, file, left, *mine}


def test_operation_commands(job, as_json):
    started = as_json("quantize", "mlp", "--bundle", "later", "--no-wait")
    operation = started["name"]
    job("operation", "watch", operation)
    assert as_json("operation", "get", operation)["state"] == "STATE_SUCCEEDED"
    done = job("operation", "cancel", operation, check=False)
    assert done.returncode == INVALID
    job("bundle", "delete", "later")


def test_calibrations_merge(job, as_json, directory):
    job("calibration", "create", "more", "--checkpoint", "mlp")
    job("calibration", "upload", "more", directory / "rows.npy")
    job("calibration", "create", "layer", "--checkpoint", "mlp")
    rows = directory / "rows.npy"
    job("calibration", "upload", "layer", rows, "--layer", "fc1")
    merged = as_json("calibration", "merge", "more", "layer")
    assert int(merged["sample_count"]) == 240
    job("calibration", "delete", "more")
    job("calibration", "delete", "layer")


def test_calibrations_are_exported_and_imported(job, as_json, directory):
    file = directory / "texts.calibration"
    job("calibration", "export", "texts", file)
    again = job("calibration", "export", "texts", file, check=False)
    assert again.returncode == EXISTS
    job("calibration", "import", file, "copy", "--checkpoint", "bert")
    copy = as_json("calibration", "get", "copy")
    original = as_json("calibration", "get", "texts")
    assert copy["layers"] == original["layers"]
    assert copy["sample_count"] == original["sample_count"]
    wrong = ("calibration", "import", file, "wrong", "--checkpoint", "mlp")
    refused = job(*wrong, check=False)
    assert refused.returncode == INVALID
    assert "other weights" in refused.stderr
    job("calibration", "delete", "copy")


def test_samples_that_are_not_there(job, tmp_path):
    empty, rows = tmp_path / "empty.jsonl", tmp_path / "empty.npy"
    empty.write_text("\n")
    np.save(rows, np.zeros((0, 32), np.float32))
    for path, says in (
        (empty, f"no samples in {empty}"),
        (rows, f"no samples in {rows}"),
        (tmp_path, f"{tmp_path} is a directory"),
    ):
        result = job("calibration", "upload", "texts", path, check=False)
        assert result.returncode == INVALID, result.stderr
        assert says in result.stderr


def test_calibrators_are_shown_for_each_input(job):
    shown = job("calibration", "get", "texts", "--calibrators").stdout
    for calibrator in ("min_max", "moving_average", "entropy", "mse"):
        assert calibrator in shown


def test_calibrations_keep_what_they_are_asked_to(job, as_json):
    options = ("--kept-rows=5", "--kept-samples=2", "--seed=9")
    job("calibration", "create", "few", "--checkpoint", "mlp", *options)
    few = as_json("calibration", "get", "few")["options"]
    assert {name: int(value) for name, value in few.items()} == {
        "kept_rows": 5,
        "kept_samples": 2,
        "seed": 9,
    }
    job("calibration", "delete", "few")


def test_checkpoint_delete(job, directory):
    job("checkpoint", "upload", directory / "mlp", "gone")
    job("checkpoint", "delete", "gone")
    assert job("checkpoint", "get", "gone", check=False).returncode == NOT_FOUND


def test_health_tells_the_truth(job):
    assert "SERVING" in job("health").stdout
    nobody = job("health", check=False, address="127.0.0.1:1")
    assert nobody.returncode == RETRY
    assert "127.0.0.1:1" in nobody.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), USAGE, "subcommand"),
        (("frobnicate",), USAGE, "frobnicate"),
        (("checkpoint", "get"), USAGE, "ID"),
        (("forward", "bert"), USAGE, "input"),
        (("checkpoint", "get", "nowhere"), NOT_FOUND, "nowhere"),
        (("model", "load", "m", "bundles/nowhere"), NOT_FOUND, "nowhere"),
        (("model", "load", "m", "bert-int8"), INVALID, "source"),
        (("forward", "nowhere", "--ids", "1"), NOT_FOUND, "nowhere"),
        (("forward", "bert", "--ids", "1,50"), INVALID, "tokens.ids[1]"),
        (("forward", "bert", "--ids", ""), INVALID, "'' is no token id"),
        (("forward", "bert", "--ids", "1,,2"), INVALID, "'' is no token id"),
        (("forward", "bert", "--ids", "0x5"), INVALID, "'0x5' is no token id"),
        (("matmul", "mlp", "fc9", "--random", "1"), NOT_FOUND, "fc9"),
        (
            ("calibration", "create", "texts", "--checkpoint", "bert"),
            EXISTS,
            "texts",
        ),
        (("quantize", "bert", "--bundle", "bert-int8"), EXISTS, "bert-int8"),
        (
            ("quantize", "mlp", "--bundle", "x", "--include", "nothing.*"),
            INVALID,
            "nothing.*",
        ),
        (
            ("quantize", "mlp", "--bundle", "x", "--scheme", "w8a8_static"),
            INVALID,
            "calibration",
        ),
        (("bundle", "delete", "bert-int8"), INVALID, "bert-int8"),
    ],
)
def test_exit_codes(job, arguments, code, says):
    result = job(*arguments, check=False)
    assert result.returncode == code, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_damaged_bundle_is_data_loss(job, tmp_path):
    job("bundle", "download", "mlp-int8", tmp_path / "b.tar")
    bad = tmp_path / "bad.tar"
    bad.write_bytes(
        archives.with_flipped_bit(
            (tmp_path / "b.tar").read_bytes(), "model.safetensors"
        )
    )
    result = job("bundle", "upload", bad, "damaged", check=False)
    assert result.returncode == DATA_LOSS
    assert "model.safetensors" in result.stderr


def test_help_names_every_exit_code(job):
    text = job("--help").stdout
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130):
        assert f"\n  {code} " in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json", "bundle", "list"),
        ("--json", "calibration", "get", "texts"),  # more than is buffered
        ("--help",),
        ("--version",),
    ],
)
def test_output_that_is_lost_is_an_error(job, server, arguments):
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [binary("octet"), "--server", server.address, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert result.returncode == 1
    assert "cannot write the output" in result.stderr
    if arguments != ("--version",):
        assert "No space left on device" in result.stderr


def test_broken_npy_is_the_users_mistake(job, tmp_path):
    path = tmp_path / "x.npy"
    for data in (b"", b"\x93NUMPY", b"not an array"):
        path.write_bytes(data)
        result = job("matmul", "mlp", "fc1", "--input", path, check=False)
        assert result.returncode == INVALID, result.stderr
    with io.BytesIO() as out:
        np.save(out, np.zeros((2, 48), np.float64))
        path.write_bytes(out.getvalue())
    result = job("matmul", "mlp", "fc1", "--input", path, check=False)
    assert result.returncode == INVALID
    assert "float32" in result.stderr


def test_interrupted_quantize_cancels_its_operation(
    job, as_json, server, tmp_path
):
    wide = checkpoints.mlp(widths=(1024, 4096, 1024))
    for path, data in wide.items():
        (tmp_path / path).write_bytes(data)
    job("checkpoint", "upload", tmp_path, "wide")
    process = subprocess.Popen(
        [binary("octet"), "quantize", "wide", "--bundle", "stopped"],
        env={**os.environ, "OCTET_SERVER": server.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not any(
        o["checkpoint"] == "checkpoints/wide"
        for o in as_json("operation", "list")["operations"]
    ):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    state = as_json("operation", "list")["operations"][0]["state"]
    if state == "STATE_SUCCEEDED":
        pytest.skip("it was faster than Ctrl-C")
    assert process.returncode == 130
    assert state == "STATE_CANCELLED"


def test_interrupted_while_it_hashes(job, server, tmp_path):
    """A file with more zeros than any test has time to hash."""
    (tmp_path / "config.json").write_text("{}")
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(1 << 40)
    terminal, stderr = pty.openpty()
    process = subprocess.Popen(
        [
            *(binary("octet"), "--server", server.address),
            *("checkpoint", "upload", tmp_path, "zeros"),
        ],
        stderr=stderr,
    )
    os.close(stderr)
    shown = b""
    while b"hashing" not in shown:
        shown += os.read(terminal, 4096)
    process.send_signal(signal.SIGINT)
    while b"octet: interrupted" not in shown:
        shown += os.read(terminal, 4096)
    os.close(terminal)
    assert process.wait(60) == 130


def test_interrupted_while_it_waits_for_a_pipe(job, as_json, server):
    process = subprocess.Popen(
        [
            *(binary("octet"), "--server", server.address),
            *("calibration", "upload", "texts", "-"),
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    before = as_json("calibration", "get", "texts")["sample_count"]
    process.stdin.write(b'{"ids": [1, 2, 3]}\n')
    process.stdin.flush()

    def unread():
        count = fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4))
        return struct.unpack("i", count)[0]

    wait.until(lambda: unread() == 0, "it does not read")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.stderr.read() == b"octet: interrupted\n"
    process.stdin.close()
    assert as_json("calibration", "get", "texts")["sample_count"] == before
