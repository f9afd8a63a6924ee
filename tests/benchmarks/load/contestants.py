"""The servers that are compared: Octet and its rivals, each on loopback, each
with MiniLM under the same name behind the same protocol."""

import json
import pathlib
import subprocess

from support import checkpoints, paths, texts
from support.client import Client, token_inputs
from support.server import Server

MODEL = "minilm"
BATCH = 16
CALIBRATION_TEXTS = 512
HERE = pathlib.Path(__file__).resolve().parents[1]


class Octet:
    """Quantized by `spec`, as a user would: upload, calibrate, quantize, load.
    The float model is loaded beside it, as what answers are compared with."""

    name = "octet"
    float_model = "float"

    def __init__(self, directory, spec, *flags):
        self.server = Server(directory, *flags)
        self.address = self.server.address
        self.pid = self.server.process.pid
        calibration = texts.tokenize(
            paths.minilm(), texts.calibration_texts(CALIBRATION_TEXTS)
        )
        with Client(self.address, timeout=600.0) as client:
            client.upload_checkpoint(
                MODEL, checkpoints.from_directory(paths.minilm())
            )
            client.create_calibration("texts", MODEL)
            client.upload_batches(
                "texts",
                [
                    token_inputs(calibration[i : i + BATCH])
                    for i in range(0, len(calibration), BATCH)
                ],
            )
            client.quantize(MODEL, MODEL, "texts", **spec)
            client.load(MODEL, f"bundles/{MODEL}")
            client.load(self.float_model, f"checkpoints/{MODEL}")

    def metrics(self) -> str:
        return self.server.metrics_text()

    def stop(self):
        self.server.stop()


class Rival:
    def __init__(self, name, python, models):
        self.name = name
        self.process = subprocess.Popen(
            [str(python), "-m", "load.rival_server", name, str(models)],
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.pid = self.process.pid
        ready = self.process.stdout.readline().split()
        if ready[:1] != ["ready"]:
            raise RuntimeError(f"{name} did not start")
        self.address = f"127.0.0.1:{ready[1]}"

    def stop(self):
        self.process.kill()
        self.process.wait()


def make_models(python, folder) -> None:
    """The rivals' models, INT8 calibrated on the same texts."""
    calibration = texts.tokenize(
        paths.minilm(), texts.calibration_texts(CALIBRATION_TEXTS)
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "calibration.json"
    path.write_text(json.dumps(calibration))
    subprocess.run(
        [
            str(python),
            "-m",
            "model.minilm_models",
            str(paths.minilm()),
            str(folder),
            str(path),
        ],
        cwd=HERE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    (folder / "complete").touch()
