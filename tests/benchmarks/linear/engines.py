"""Engines as processes: started, asked one at a time, stopped in between."""

import json
import os
import pathlib
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


class EngineError(Exception):
    pass


class Engine:
    """A worker, pinned, and stopped whenever nobody waits for its answer:
    whether its idle threads spin makes no difference then."""

    def __init__(self, command, cores, environment=None):
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | (environment or {}),
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.about = self._answer()["about"]
        self.process.send_signal(signal.SIGSTOP)

    def ask(self, *words) -> dict:
        self.process.send_signal(signal.SIGCONT)
        print(*words, file=self.process.stdin, flush=True)
        answer = self._answer()
        self.process.send_signal(signal.SIGSTOP)
        if "error" in answer:
            raise EngineError(f"{self.about}: {answer['error']}")
        return answer

    def close(self):
        self.process.kill()
        self.process.wait()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise EngineError(f"{self.process.args} ended")
        return json.loads(line)


def commands(build: pathlib.Path, threads: int) -> dict:
    """Every engine that can be started here, by name; Octet first."""
    folder = build / "tests/benchmarks/linear"
    found = {
        "octet": [folder / "octet_linear_worker", threads],
        "limits": [folder / "octet_limits_worker"],
    }
    for worker in sorted(folder.glob("octet_onednn_worker_*")):
        if worker.is_file():
            found[worker.name.removeprefix("octet_").replace("_worker", "")] = [
                worker,
                threads,
            ]
    for name in ("onnxruntime", "openvino"):
        found[name] = [sys.executable, HERE / f"{name}_worker.py", threads]
    return found


def environment() -> dict:
    """What the SYCL build of oneDNN wants: the CPU as an OpenCL device, which
    PyPI's `intel-opencl-rt` puts into the same venv."""
    driver = pathlib.Path(sys.prefix) / "lib/libintelocl.so"
    return {"OCL_ICD_FILENAMES": str(driver)} if driver.exists() else {}
