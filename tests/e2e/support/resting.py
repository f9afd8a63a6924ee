"""Uploads that send nothing for a while: calls that are in flight."""

import threading

from support import wait
from support.prometheus_text import Samples


class Resting:
    """Uploads that go on until they are released."""

    def __init__(self, client, count):
        self.client = client
        self.release = threading.Event()
        self.calls = [self._upload() for _ in range(count)]

    def _rest(self):
        self.release.wait(60)
        yield from ()

    def _upload(self):
        return self.client.checkpoints.UploadCheckpoint.future(
            self._rest(), timeout=90
        )

    def wait_until_seen(self, server):
        """By the server's own count: a call that asked would be one more. An
        upload that was refused, because an earlier call of its client had not
        left yet, comes back."""

        def in_flight():
            self.calls = [
                self._upload() if call.done() else call for call in self.calls
            ]
            return Samples(server.metrics_text()).get(
                "octet_rpc_in_flight",
                method="CheckpointService/UploadCheckpoint",
            )

        wait.until(
            lambda: in_flight() == len(self.calls), "the uploads never came"
        )

    def end(self):
        self.release.set()
        for call in self.calls:
            call.exception()
