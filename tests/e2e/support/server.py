"""One octet-server process on loopback ports of its own."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

from support.paths import binary

_READY = re.compile(r"ready grpc=(\S+) metrics=(\S+)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Starts on construction; stop() asks, kill() does not."""

    def __init__(
        self,
        data_dir: pathlib.Path,
        *flags: str,
        ready_in=60.0,
        command=None,
        grpc_address="127.0.0.1:0",
    ):
        """`command`: what starts the server of another build, as a list."""
        self.data_dir = pathlib.Path(data_dir)
        self.flags = flags
        self.ready_in = ready_in
        self.grpc_address = grpc_address
        self.command = command or [binary("octet-server")]
        self.start()

    def start(self):
        self.log = tempfile.NamedTemporaryFile(  # noqa: SIM115
            mode="w+", prefix="octet-server-", suffix=".log"
        )
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("OCTET_")
        }
        self.process = subprocess.Popen(
            [
                *self.command,
                f"--grpc-address={self.grpc_address}",
                "--metrics-address=127.0.0.1:0",
                f"--data-dir={self.data_dir}",
                *self.flags,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.log,
            env=environment,
        )
        self.address, self.metrics_address = self._wait_until_ready()

    def _wait_until_ready(self):
        deadline = time.monotonic() + self.ready_in
        while time.monotonic() < deadline:
            ready = _READY.search(self.log_text())
            if ready:
                return ready.groups()
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"exited with {self.process.returncode} before it was "
                    f"ready:\n{self.log_text()}"
                )
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"not ready after {self.ready_in} s")

    def log_text(self) -> str:
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def running(self) -> bool:
        return self.process.poll() is None

    def cpu_seconds(self) -> float:
        """Of all its threads, in the process and in the kernel."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat.rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        statm = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=60.0) -> int:
        return self.process.wait(timeout)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.running():
            self.terminate()
        return self.wait()

    def kill(self):
        """SIGKILL, as a power cut would."""
        if self.running():
            self.process.kill()
        self.process.wait(60)

    def restart(self):
        self.kill()
        self.start()

    def metrics_text(self) -> str:
        url = f"http://{self.metrics_address}/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.read().decode()
