"""Uploads against a server in this process that breaks when it is told to."""

from concurrent import futures

import google_crc32c
import grpc
import pytest

MIB = 1 << 20


class BreakingServer:
    """Keeps what it gets; streams end after `break_after` chunks."""

    def __init__(self):
        from octet_client._protocol import enums, messages

        self.messages = messages
        self.states = vars(enums)
        self.bytes = {}
        self.declared = []
        self.streams = 0
        self.received = 0
        self.breaks = 0
        self.break_after = 0
        self.code = grpc.StatusCode.UNAVAILABLE
        self.active = False

    def start(self):
        m = self.messages
        service = grpc.method_handlers_generic_handler(
            "octet.v1.CheckpointService",
            {
                "GetCheckpoint": grpc.unary_unary_rpc_method_handler(
                    self.get,
                    m.GetCheckpointRequest.FromString,
                    m.Checkpoint.SerializeToString,
                ),
                "UploadCheckpoint": grpc.stream_unary_rpc_method_handler(
                    self.upload,
                    m.UploadCheckpointRequest.FromString,
                    m.Checkpoint.SerializeToString,
                ),
            },
        )
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        self.server.add_generic_rpc_handlers((service,))
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        return f"127.0.0.1:{port}"

    def checkpoint(self):
        state = "ACTIVE" if self.active else "UPLOADING"
        result = self.messages.Checkpoint(
            state=self.states[f"Checkpoint.STATE_{state}"], files=self.declared
        )
        for file in result.files:
            file.received_bytes = len(self.bytes[file.path])
        return result

    def get(self, request, context):
        if not self.bytes:
            context.abort(grpc.StatusCode.NOT_FOUND, request.name)
        return self.checkpoint()

    def upload(self, requests, context):
        self.streams += 1
        self.declared = list(next(requests).header.files)
        for file in self.declared:
            self.bytes.setdefault(file.path, b"")
        for count, request in enumerate(requests):
            if self.breaks and count == self.break_after:
                self.breaks -= 1
                context.abort(self.code, "broken")
            chunk = request.chunk
            assert chunk.offset == len(self.bytes[chunk.path])
            assert chunk.crc32c == google_crc32c.value(chunk.data)
            self.bytes[chunk.path] += chunk.data
            self.received += len(chunk.data)
        self.active = True
        return self.checkpoint()


@pytest.fixture
def breaking(monkeypatch):
    from octet_client import _retry

    monkeypatch.setattr(_retry, "FIRST_WAIT", 0.001)
    server = BreakingServer()
    address = server.start()
    server.address = address
    yield server
    server.server.stop(None).wait()


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_text("stays behind")
    weights = bytes(range(256)) * (3 * MIB // 256) + b"end"
    (tmp_path / "model.safetensors").write_bytes(weights)
    return tmp_path


def upload(breaking, directory, progress=None):
    import octet_client

    with octet_client.Client(breaking.address) as client:
        return client.upload_checkpoint(directory, "m", progress)


def expect_everything_once(breaking, directory):
    weights = (directory / "model.safetensors").read_bytes()
    assert breaking.bytes == {
        "config.json": b"{}",
        "model.safetensors": weights,
    }
    assert breaking.received == len(weights) + 2


def test_every_byte_arrives_and_progress_reaches_the_end(breaking, directory):
    seen = []
    upload(breaking, directory, lambda *state: seen.append(state))
    expect_everything_once(breaking, directory)
    assert seen == sorted(seen)
    assert seen[-1] == (3 * MIB + 5, 3 * MIB + 5)


def test_goes_on_where_the_connection_broke(breaking, directory):
    breaking.breaks, breaking.break_after = 3, 1
    upload(breaking, directory)
    assert breaking.streams == 4
    expect_everything_once(breaking, directory)


def test_gives_up_without_progress(breaking, directory):
    import octet_client
    from octet_client import _retry

    breaking.breaks = 100
    with pytest.raises(octet_client.OctetError):
        upload(breaking, directory)
    assert breaking.streams == _retry.ATTEMPTS


def test_does_not_repeat_what_is_refused(breaking, directory):
    import octet_client

    breaking.breaks, breaking.code = 100, grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(octet_client.OctetError):
        upload(breaking, directory)
    assert breaking.streams == 1


def test_says_what_a_checkpoint_lacks(breaking, tmp_path):
    (tmp_path / "model.safetensors").write_text("")
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        upload(breaking, tmp_path)
