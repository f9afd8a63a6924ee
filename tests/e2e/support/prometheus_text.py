"""The Prometheus text format, as much of it as a server of ours writes."""

import re
import time

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Samples:
    """Samples by name and labels, and what # TYPE and # HELP say."""

    def __init__(self, text: str):
        self.values = {}
        self.types = {}
        self.help = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                name, kind = line.split(" ")[2:4]
                self.types[name] = kind
            elif line.startswith("# HELP "):
                _, _, name, *words = line.split(" ")
                self.help[name] = " ".join(words)
            elif line:
                name, labels, value = _SAMPLE.match(line).groups()
                key = frozenset(_LABEL.findall(labels or ""))
                self.values[name, key] = float(value)

    def names(self) -> set[str]:
        return {name for name, _ in self.values}

    def get(self, name: str, **labels) -> float:
        """The sum of the samples that have these labels; 0 without any."""
        wanted = set(labels.items())
        return sum(
            value
            for (other, key), value in self.values.items()
            if other == name and wanted <= key
        )

    def labels(self, name: str, label: str) -> set[str]:
        return {
            dict(key)[label]
            for other, key in self.values
            if other == name and label in dict(key)
        }


def when(server, is_so, seconds=20):
    """The samples as soon as they are so; what is watched is seen late."""
    end = time.monotonic() + seconds
    while True:
        samples = Samples(server.metrics_text())
        if is_so(samples):
            return samples
        assert time.monotonic() < end, samples.values
        time.sleep(0.05)
