"""Engines as processes: started, asked one at a time, stopped in between."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parents[1]


class EngineError(Exception):
    pass


class Engine:
    """A worker, pinned, and stopped whenever nobody waits for its answer:
    whether its idle threads spin makes no difference then."""

    def __init__(self, command, cores):
        self.process = subprocess.Popen(
            [str(word) for word in command],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | _drivers(),
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
            command = " ".join(map(str, self.process.args))
            raise EngineError(f"it ended: {command}")
        return json.loads(line)


def start(commands: dict, cores: set) -> dict:
    """name -> command; those that do not start are named and left out."""
    engines = {}
    for name, command in commands.items():
        try:
            engines[name] = Engine(command, cores)
            print(f"{name:16}{engines[name].about}")
        except (EngineError, OSError) as error:
            print(f"{name:16}LEFT OUT: {error}", file=sys.stderr)
    return engines


def python(module: str, *arguments) -> list:
    """The command of a worker written in Python."""
    return [sys.executable, "-m", module, *arguments]


def machine() -> str:
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.M)
    name = model[1] if model else os.uname().machine
    cores = len(os.sched_getaffinity(0))
    return f"machine: {name}, {cores} cores; {time.strftime('%Y-%m-%d')}"


def _drivers() -> dict:
    """What the SYCL build of oneDNN wants: the CPU as an OpenCL device, which
    PyPI's `intel-opencl-rt` puts into the same venv."""
    driver = pathlib.Path(sys.prefix) / "lib/libintelocl.so"
    return {"OCL_ICD_FILENAMES": str(driver)} if driver.exists() else {}
