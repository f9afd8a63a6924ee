"""Operations watched on a server in this process whose streams break."""

from concurrent import futures

import grpc
import pytest


class BreakingServer:
    """Shows one state of an operation in each stream, which then breaks."""

    def __init__(self, states, code=grpc.StatusCode.UNAVAILABLE):
        from octet_client._protocol import enums, messages

        self.operations = [
            messages.Operation(
                name="operations/o",
                state=vars(enums)[f"Operation.STATE_{state}"],
            )
            for state in states
        ]
        self.code = code
        self.streams = 0
        handler = grpc.unary_stream_rpc_method_handler(
            self.watch,
            messages.WatchOperationRequest.FromString,
            messages.Operation.SerializeToString,
        )
        service = grpc.method_handlers_generic_handler(
            "octet.v1.QuantizationService", {"WatchOperation": handler}
        )
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        self.server.add_generic_rpc_handlers((service,))
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        self.server.start()

    def watch(self, request, context):
        self.streams += 1
        if self.operations:
            yield self.operations.pop(0)
        context.abort(self.code, "broken")


@pytest.fixture
def wait(monkeypatch):
    """wait(server) follows its operation, and shows what progress saw."""
    import octet_client
    from octet_client import _retry

    monkeypatch.setattr(_retry, "FIRST_WAIT", 0.001)
    servers = []

    def run(server):
        servers.append(server)
        seen = []
        with octet_client.Client(server.address) as client:
            last = client.wait("o", lambda state: seen.append(state.state))
        return last, seen

    yield run
    for server in servers:
        server.server.stop(None).wait()


def test_goes_on_where_the_connection_broke(wait):
    server = BreakingServer(["QUEUED", "RUNNING", "RUNNING", "SUCCEEDED"])
    last, seen = wait(server)
    assert last.name == "operations/o"
    assert len(seen) == server.streams == 4


def test_a_cancelled_operation_is_an_error(wait):
    import octet_client

    with pytest.raises(octet_client.OctetError, match="was cancelled"):
        wait(BreakingServer(["RUNNING", "CANCELLED"]))


def test_gives_up_without_progress(wait):
    import octet_client
    from octet_client import _retry

    server = BreakingServer(["RUNNING"])
    with pytest.raises(octet_client.OctetError, match="broken"):
        wait(server)
    assert server.streams == _retry.ATTEMPTS


def test_what_is_refused_is_not_asked_again(wait):
    import octet_client

    server = BreakingServer(["RUNNING"], grpc.StatusCode.PERMISSION_DENIED)
    with pytest.raises(octet_client.OctetError, match="broken"):
        wait(server)
    assert server.streams == 1
