"""A real Prometheus scrapes a real server: after traffic, every query of our
rules and dashboard returns data."""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import numpy as np
import pytest
import yaml

from support.api import pb
from support.client import feature_inputs
from support.paths import ROOT
from support.server import Server, free_port

sys.path.insert(0, str(ROOT / "tests" / "deploy"))
import queries

CONFIG = ROOT / "deploy" / "prometheus"


class Prometheus:
    def __init__(self, directory, target):
        self.url = f"http://127.0.0.1:{free_port()}"
        config = directory / "prometheus.yml"
        config.write_text(yaml.safe_dump(self._adapted(target)))
        self.log = (directory / "prometheus.log").open("w")
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            stdout=self.log,
            stderr=self.log,
        )

    @staticmethod
    def _adapted(target):
        """What we ship, with one second for a minute and this server's port."""
        config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
        config["global"] = {
            "scrape_interval": "1s",
            "evaluation_interval": "1s",
        }
        config["rule_files"] = [
            str(CONFIG / path) for path in config["rule_files"]
        ]
        for job in config["scrape_configs"]:
            job.pop("scrape_interval", None)
            job["static_configs"] = [{"targets": [target]}]
        config.pop("alerting", None)
        return config

    def query(self, expression):
        url = f"{self.url}/api/v1/query?" + urllib.parse.urlencode(
            {"query": expression}
        )
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)["data"]["result"]

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


@pytest.fixture(scope="module")
def server():
    """One that has everything to report that can be switched on."""
    with tempfile.TemporaryDirectory(prefix="octet-data-") as directory:
        server = Server(pathlib.Path(directory), "--allow-capture")
        yield server
        server.kill()


@pytest.fixture(scope="module")
def prometheus(server, prepared, tmp_path_factory):
    instance = Prometheus(
        tmp_path_factory.mktemp("prometheus"), server.metrics_address
    )
    yield instance
    instance.stop()


def make_traffic(client):
    client.embed("bert", [[1, 2, 3], [4, 5]])
    client.embed("bert-int8", [[1, 2, 3], [4, 5]])
    client.forward("mlp-int8", feature_inputs(np.ones((4, 48))))
    client.forward("shadowed", feature_inputs(np.ones((4, 48))))
    client.matmul("mlp-int8", "fc1", np.ones((8, 48)))


def test_every_query_returns_data_after_traffic(prometheus, prepared):
    prepared.load("shadowed", "bundles/mlp-int8", shadow_rate=1)
    prepared.create_calibration("live", "mlp")
    prepared.calibrations.StartCapture(
        pb.StartCaptureRequest(
            calibration="calibrations/live",
            model="models/mlp-int8",
            rate=1,
            max_samples=65536,
        ),
        timeout=prepared.timeout,
    )
    expressions = list(queries.queries())
    assert len(expressions) > 10
    deadline = time.monotonic() + 90
    silent = expressions
    while silent and time.monotonic() < deadline:
        make_traffic(prepared)
        time.sleep(1)
        with contextlib.suppress(OSError):  # it starts
            silent = [e for e in silent if not prometheus.query(e)]
    assert not silent, "\n".join(map(str, silent))


def test_target_is_up_and_rules_are_healthy(prometheus):
    with urllib.request.urlopen(
        f"{prometheus.url}/api/v1/targets", timeout=10
    ) as response:
        targets = json.load(response)["data"]["activeTargets"]
    assert [target["health"] for target in targets] == ["up"]
    with urllib.request.urlopen(
        f"{prometheus.url}/api/v1/rules", timeout=10
    ) as response:
        groups = json.load(response)["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules
    assert {rule["health"] for rule in rules} == {"ok"}
