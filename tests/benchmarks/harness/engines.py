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


WARM_UP_SECONDS = 0.3  # many ticks of the clock that counts threads' time


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
        self.cores = sorted(cores)
        self.about = self._answer()["about"]
        self.process.send_signal(signal.SIGSTOP)

    def ask(self, *words) -> dict:
        self.process.send_signal(signal.SIGCONT)
        try:
            print(*words, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise EngineError(self._end()) from None
        answer = self._answer()
        self.process.send_signal(signal.SIGSTOP)
        if "error" in answer:
            raise EngineError(f"{self.about}: {answer['error']}")
        return answer

    def spread(self, variant):
        """Each thread that computes onto a core of its own: a scheduler may
        rather pack them onto the first, as those of some virtual machines do.
        """
        if len(self.cores) == 1:
            return
        before = self._thread_ticks()
        end = time.monotonic() + WARM_UP_SECONDS
        while time.monotonic() < end:
            self.ask("run", variant, 1)
        ticks = self._thread_ticks()
        busiest = sorted(ticks, key=lambda t: before.get(t, 0) - ticks[t])
        for thread, core in zip(busiest, self.cores):
            os.sched_setaffinity(thread, {core})

    def _thread_ticks(self) -> dict:
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        stats = {
            int(task.name): (task / "stat").read_text().rpartition(")")[2]
            for task in tasks.iterdir()
        }
        return {
            thread: sum(map(int, stat.split()[11:13]))  # utime, stime
            for thread, stat in stats.items()
        }

    def close(self):
        self.process.kill()
        self.process.wait()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise EngineError(self._end())
        return json.loads(line)

    def _end(self) -> str:
        command = " ".join(map(str, self.process.args))
        return f"it ended with {self.process.wait()}: {command}"


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
