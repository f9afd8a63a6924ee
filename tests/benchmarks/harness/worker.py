"""The side of a worker written in Python; worker.h says what is spoken."""

import json
import os
import sys
import time


class Job:
    """What `run` repeats: a list of calls taken in turn."""

    def __init__(self, calls, work=0.0, name=""):
        self.calls, self.work, self.name = calls, work, name
        self.next = 0

    def run(self, times: int) -> dict:
        calls, count, at = self.calls, len(self.calls), self.next
        start, cpu_start = time.perf_counter_ns(), time.process_time_ns()
        for i in range(at, at + times):
            calls[i % count]()
        cpu_ns = time.process_time_ns() - cpu_start
        ns = time.perf_counter_ns() - start
        self.next = (at + times) % count
        return {"ns": ns / times, "cpu_ns": cpu_ns / times}


def serve(about: str, variants: dict) -> None:
    """variants: name -> function of the numbers, giving a Job."""
    # Libraries print what they like; the answers go where nobody else writes.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    jobs = {}

    def answer(line: str) -> dict:
        command, *words = line.split()
        if command == "drop":
            jobs.clear()
            return {"ok": True}
        variant, *numbers = words
        if command == "prepare":
            jobs.pop(variant, None)
            job = jobs[variant] = variants[variant](*map(int, numbers))
            job.run(len(job.calls))
            return {"ok": True, "work": job.work, "name": job.name}
        if command == "run":
            return jobs[variant].run(int(numbers[0]))
        raise ValueError(f"unknown command: {line}")

    def say(message: dict) -> None:
        print(json.dumps(message), file=answers, flush=True)

    say({"about": about})
    for line in sys.stdin:
        try:
            say(answer(line))
        except Exception as error:  # an engine may raise anything
            say({"error": f"{type(error).__name__}: {error}"})
